// A worker in Node.js: it takes a batch of items in their envelopes and answers for each of them.
//
// What it gets is docs/schemas/BatchEvent.schema.json, what it answers docs/schemas/WorkerAnswer.schema.json.

const LEFT_MILLISECONDS = 5_000;

async function lengthOf(word) {
  if (typeof word !== "string") {
    throw new TypeError(`expected a word, got ${JSON.stringify(word)}`);
  }
  return { word, length: word.length };
}

export async function handler(event, context) {
  const answer = { batchItemResults: [], batchItemFailures: [], batchItemsUnprocessed: [] };
  for (const { index, source, value } of event.Items) {
    const itemIdentifier = source ? `${source}#${index}` : String(index);
    if (context.getRemainingTimeInMillis() < LEFT_MILLISECONDS) {
      answer.batchItemsUnprocessed.push(itemIdentifier);
      continue;
    }
    try {
      answer.batchItemResults.push({ itemIdentifier, result: await lengthOf(value) });
    } catch (error) {
      answer.batchItemFailures.push({ itemIdentifier, error: error.name, cause: error.message });
    }
  }
  return answer;
}
