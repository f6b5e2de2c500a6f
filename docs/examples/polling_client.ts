// A client of LiteLLM's polling as first documented: create, poll until the end, print the text.
//
//     node polling_client.ts http://127.0.0.1:8000/v1 "Tell me a story"      (Node.js 23 or newer)

interface PollingResponse {
  id: string;
  status: "in_progress" | "completed" | "cancelled" | "failed" | "incomplete";
  status_details: {
    type: string;
    reason?: string;
    error?: { type: string; message: string; code: string };
  } | null;
  output: { type: string; content?: { type: string; text: string }[] }[];
  usage: { input_tokens: number; output_tokens: number; total_tokens: number } | null;
}

function textOf(response: PollingResponse): string {
  return response.output
    .filter((item) => item.type === "message")
    .flatMap((item) => item.content ?? [])
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("");
}

const [baseUrl, question] = process.argv.slice(2);
const headers = { Authorization: "Bearer sk-1234", "Content-Type": "application/json" };
const body = JSON.stringify({ model: "story", input: question, background: true });

async function ask(url: string, init: RequestInit): Promise<PollingResponse> {
  return (await (await fetch(url, init)).json()) as PollingResponse;
}

let response = await ask(`${baseUrl}/responses`, { method: "POST", headers, body });
console.log(response.id, response.status);
while (response.status !== "completed" && response.status !== "failed") {
  await new Promise((resolve) => setTimeout(resolve, 200));
  response = await ask(`${baseUrl}/responses/${response.id}`, { headers });
}
if (response.status === "failed") {
  console.error(`failed: ${response.status_details?.error?.message}`);
  process.exit(1);
}
console.log(textOf(response));
console.log(response.usage?.total_tokens, "tokens");
