// Questions to the server and its answers, one after the other: never more than one in flight for a page.

export class Wire {
  constructor(onState) {
    this.onState = onState;
    this.waiting = new Map(); // a kind of question -> the newest of it; older ones of its kind are not asked any more
    this.busy = null;
    this.open();
  }

  open() {
    this.socket = new WebSocket(new URL("asks", location.href).href.replace(/^http/, "ws"));
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => { this.onState("", true); this.next(); };
    this.socket.onclose = () => {
      this.onState("the server has ended", false);
      const lost = [this.busy, ...this.waiting.values()].filter(Boolean);
      this.busy = null;
      this.waiting.clear();
      for (const question of lost) question.done({ error: "the server has ended" });
    };
    this.socket.onmessage = (message) => {
      const { done } = this.busy;
      this.busy = null;
      done(unpacked(message.data));
      this.next();
    };
  }

  // What the server says to it, or null where a newer question of the kind took its place.
  ask(question, kind = question.op) {
    return new Promise((done) => {
      this.waiting.get(kind)?.done(null);
      this.waiting.set(kind, { question, done });
      this.next();
    });
  }

  next() {
    if (this.busy || this.socket.readyState !== WebSocket.OPEN || !this.waiting.size) return;
    const [kind, first] = this.waiting.entries().next().value;
    this.waiting.delete(kind);
    this.busy = first;
    this.socket.send(JSON.stringify(first.question));
  }
}

function unpacked(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const document = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  for (const name of ["events", "tokens"]) {
    const shape = document[name];
    if (!Array.isArray(shape)) continue;
    document[name] = { rows: shape[0], columns: shape[1], data: new Uint8Array(buffer, at, shape[0] * shape[1]) };
    at += shape[0] * shape[1];
  }
  return document;
}
