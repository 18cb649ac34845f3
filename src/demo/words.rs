//! What the demo says at the end: where everything is, and what to try next.

use std::path::Path;

use super::scenario::CHAT_MODEL;

/// Addresses and files, as the person at the terminal needs them.
pub struct Places<'a> {
    pub gateway_port: u16,
    pub console: String,
    pub dir: &'a Path,
    pub database: String,
}

impl Places<'_> {
    /// Ready to copy: curl, the OpenAI SDK, the log's own commands.
    #[must_use]
    pub fn text(&self) -> String {
        let (dir, port) = (self.dir.display(), self.gateway_port);
        format!(
            r#"
Everything still runs. In another terminal:

  A request that is allowed (add -N and "stream":true to watch it stream):
    curl --cacert {dir}/pki/root.pem https://127.0.0.1:{port}/v1/chat/completions \
      -H "Authorization: Bearer $(cat {dir}/token)" -H 'Content-Type: application/json' \
      -H 'Haetae-Datasets: kr-retail/orders@1' \
      -d '{{"model":"{CHAT_MODEL}","messages":[{{"role":"user","content":"Hello"}}]}}'

  The same with the OpenAI SDK (pip install openai), streaming:
    SSL_CERT_FILE={dir}/pki/root.pem OPENAI_API_KEY=$(cat {dir}/token) python3 - <<'PY'
    from openai import OpenAI
    client = OpenAI(base_url="https://127.0.0.1:{port}/v1")
    for chunk in client.chat.completions.create(
            model="{CHAT_MODEL}", stream=True,
            messages=[{{"role": "user", "content": "Hello"}}],
            extra_headers={{"Haetae-Datasets": "kr-retail/orders@1"}}):
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    PY

  gateway   https://127.0.0.1:{port}          token, good for an hour: {dir}/token
  console   {console}
  Postgres  psql '{database}'
  files     {dir}  (haetae.toml, pki/, registry/, gateway.log)

Rules are reference material, unreviewed by counsel. Ctrl-C stops everything.
"#,
            console = self.console,
            database = self.database,
        )
    }
}
