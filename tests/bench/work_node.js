// tests/bench/work_node.js - what work.lua does, for Node: node work_node.js PORT

const fields = /(\w+)=([^&]*)/g;

function answer(line) {
  const found = {};
  let count = 0;
  for (const [, key, value] of line.matchAll(fields)) {
    found[key] = value.toUpperCase();
    count++;
  }
  return count + " " + found.k19 + "\n";
}

require("net")
  .createServer({ noDelay: true }, (socket) => {
    let rest = "";
    socket.setEncoding("latin1");
    socket.on("error", () => {});
    socket.on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      socket.write(lines.map(answer).join(""), "latin1");
    });
  })
  .listen(Number(process.argv[2]), "127.0.0.1");
