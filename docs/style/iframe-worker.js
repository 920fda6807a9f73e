// Browsers refuse workers to a page from a disk. There the search runs in a hidden frame, which
// has the same listeners: it takes messages as events, and answers through `postMessage`.
class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.srcdoc = `<script src="${new URL(url, document.baseURI)}"></script>`;
    this.inside = new Promise((loaded) => frame.addEventListener("load", () => {
      frame.contentWindow.postMessage = (data) =>
        this.dispatchEvent(new MessageEvent("message", { data }));
      loaded(frame.contentWindow);
    }));
    document.body.append(frame);
  }

  postMessage(data) {
    this.inside.then((inside) => inside.dispatchEvent(new MessageEvent("message", { data })));
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
