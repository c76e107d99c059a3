// tests/bench/echo_node.js - an echo as it is written for Node: of what comes, or of lines.
//
//     node echo_node.js [line|length|udp]

const net = require("net");
const dgram = require("dgram");
const kind = process.argv[2];

function lines(socket) {
  let rest = "";
  socket.setEncoding("latin1");
  socket.on("data", (text) => {
    const found = (rest + text).split("\n");
    rest = found.pop();
    for (const line of found) socket.write(line + "\n", "latin1");
  });
}

function lengths(socket) {
  let rest = Buffer.alloc(0);
  socket.on("data", (bytes) => {
    rest = rest.length ? Buffer.concat([rest, bytes]) : bytes;
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE(0)) {
      const end = 4 + rest.readUInt32BE(0);
      socket.write(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
  });
}

function raw(socket) {
  socket.on("data", (bytes) => socket.write(bytes));
}

if (kind === "udp") {
  const socket = dgram.createSocket("udp4");
  socket.on("message", (bytes, from) => socket.send(bytes, from.port, from.address));
  socket.bind(0, "127.0.0.1", () => console.log("port=" + socket.address().port));
} else {
  const serve = { line: lines, length: lengths }[kind] || raw;
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {});
    serve(socket);
  });
  server.listen(0, "127.0.0.1", 4096, () => console.log("port=" + server.address().port));
}
