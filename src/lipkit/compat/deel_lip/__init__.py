from lipkit.compat.deel_lip._files import load_model
