// Validates state machine definitions: {"<name>": {definition}} on stdin; [{name, referee, rule, where, message}] on
// stdout. Two validators, because each misses what the other sees.
const { readFileSync } = require("node:fs");
const validate = require("asl-validator");
const { getLanguageService, TextDocument } = require("amazon-states-language-service");

const definitions = JSON.parse(readFileSync(0, "utf8"));
const service = getLanguageService({});

// asl-validator takes an empty string for a broken expression (its pattern wants a character) and stops at the first
// error of its schema, which would hide all others. A blank is as good a value.
const withoutEmptyStrings = (definition) => JSON.parse(JSON.stringify(definition), (_, value) => value === "" ? " " : value);

function bySchema(name, definition) {
  return validate(withoutEmptyStrings(definition), { checkPaths: true, checkArn: true }).errors.map((error) => ({
    name,
    referee: "asl-validator",
    rule: error["Error code"],
    where: error.schemaError ? error.schemaError.instancePath : "",
    message: error.Message,
  }));
}

async function byLanguageService(name, definition) {
  const document = TextDocument.create(`file:///${name}.asl.json`, "json", 1, JSON.stringify(definition, null, 2));
  const problems = await service.doValidation(document, service.parseJSONDocument(document));
  return problems.map((problem) => ({
    name,
    referee: "language-service",
    rule: problem.message,
    where: document.getText(problem.range),
    message: problem.message,
  }));
}

async function main() {
  const found = [];
  for (const [name, definition] of Object.entries(definitions)) {
    found.push(...bySchema(name, definition), ...(await byLanguageService(name, definition)));
  }
  process.stdout.write(JSON.stringify(found));
}

main();
