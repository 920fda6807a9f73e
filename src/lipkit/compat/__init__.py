"""Other libraries' names, arguments and files, for programs that move to lipkit."""
