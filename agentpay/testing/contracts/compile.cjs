// Compiles TestUSDT.sol into TestUSDT.json. In a folder with solc 0.8.26 from npm:
//     node compile.cjs TestUSDT.sol TestUSDT.json
const fs = require("fs");
const path = require("path");
const solc = require(path.resolve("node_modules/solc"));

const [, , source, target] = process.argv;
const input = {
  language: "Solidity",
  sources: { "TestUSDT.sol": { content: fs.readFileSync(source, "utf8") } },
  settings: {
    optimizer: { enabled: true, runs: 200 },
    evmVersion: "paris",
    metadata: { appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
for (const fault of output.errors || []) console.error(fault.formattedMessage);
const made = { compiler: solc.version() };
for (const [name, contract] of Object.entries(output.contracts["TestUSDT.sol"])) {
  made[name] = { abi: contract.abi, bytecode: "0x" + contract.evm.bytecode.object };
}
fs.writeFileSync(target, JSON.stringify(made, null, 1) + "\n");
