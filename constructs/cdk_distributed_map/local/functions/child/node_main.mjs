// Runs in the process of a Node.js function: takes events from Lambda's Runtime API and hands them to the handler.
//
// AWS's own client for Node.js (aws-lambda-ric) needs a compiler to be installed, so the few requests are made here.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function request(method, name, body) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? undefined : Buffer.from(body);
    const headers = data === undefined ? {} : { "Content-Type": "application/json", "Content-Length": data.length };
    const sent = http.request({ agent, host, port, method, path: `/2018-06-01/runtime/${name}`, headers }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("end", () => resolve({ headers: answer.headers, status: answer.statusCode, body: Buffer.concat(parts) }));
    });
    sent.on("error", reject);
    sent.end(data);
  });
}

function described(error) {
  if (!(error instanceof Error)) {
    return { errorType: typeof error, errorMessage: String(error), trace: [] };
  }
  const trace = (error.stack ?? "").split("\n");
  return { errorType: error.name || "Error", errorMessage: error.message, trace };
}

async function load() {
  const [file, ...names] = splitHandler(process.env._HANDLER);
  const base = path.resolve(process.env.LAMBDA_TASK_ROOT, file);
  const found = [".js", ".mjs", ".cjs"].map((ending) => base + ending).find((each) => fs.existsSync(each));
  if (found === undefined) {
    throw Object.assign(new Error(`Cannot find module '${file}'`), { name: "Runtime.ImportModuleError" });
  }
  const module = await import(pathToFileURL(found).href);
  const pick = (from) => names.reduce((value, name) => value?.[name], from);
  const handler = pick(module) ?? pick(module.default);
  if (typeof handler !== "function") {
    const message = `${process.env._HANDLER} is undefined or not exported`;
    throw Object.assign(new Error(message), { name: "Runtime.HandlerNotFound" });
  }
  return handler;
}

function splitHandler(text) {
  const folder = path.dirname(text);
  const [file, ...names] = path.basename(text).split(".");
  return [path.join(folder, file), ...names];
}

function contextOf(headers) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  return {
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    callbackWaitsForEmptyEventLoop: true,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    getRemainingTimeInMillis: () => deadline - Date.now(),
  };
}

function called(handler, event, context) {
  return new Promise((resolve, reject) => {
    const done = (error, value) => (error ? reject(error) : resolve(value));
    const answer = handler(event, context, done);
    // With a callback, what the handler returns counts only where it is a promise.
    if (typeof answer?.then === "function") {
      answer.then(resolve, reject);
    } else if (handler.length < 3) {
      resolve(answer);
    }
  });
}

async function answer(handler, next) {
  const id = next.headers["lambda-runtime-aws-request-id"];
  process.env._X_AMZN_TRACE_ID = next.headers["lambda-runtime-trace-id"] ?? "";
  let body;
  try {
    const value = await called(handler, JSON.parse(next.body), contextOf(next.headers));
    body = JSON.stringify(value === undefined ? null : value);
  } catch (error) {
    const shown = described(error);
    console.error(JSON.stringify(shown));
    await request("POST", `invocation/${id}/error`, JSON.stringify(shown));
    return;
  }
  const { status } = await request("POST", `invocation/${id}/response`, body);
  if (status === 413) {
    const message = `Response payload size exceeded maximum allowed payload size (${Buffer.byteLength(body)} bytes)`;
    const shown = { errorType: "Function.ResponseSizeTooLarge", errorMessage: message };
    await request("POST", `invocation/${id}/error`, JSON.stringify(shown));
  }
}

// What is logged is one line for each call, as Lambda's own client has it.
process.on("unhandledRejection", (error) => {
  console.error(JSON.stringify({ ...described(error), errorType: "Runtime.UnhandledPromiseRejection" }));
  process.exit(128);
});

let handler;
try {
  handler = await load();
} catch (error) {
  console.error(JSON.stringify(described(error)));
  await request("POST", "init/error", JSON.stringify(described(error)));
  process.exit(1);
}
for (;;) {
  await answer(handler, await request("GET", "invocation/next"));
}
