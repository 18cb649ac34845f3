//! What the demo says at the end: where everything is, and what to try next.

use std::path::Path;

use super::scenario::CHAT_MODEL;

/// Addresses and files, as the person at the terminal needs them.
pub struct Places<'a> {
    pub gateway_port: u16,
    pub console: String,
    /// Address of the log's public listener.
    pub log: String,
    pub dir: &'a Path,
    pub database: String,
    /// This program.
    pub program: &'a Path,
}

impl Places<'_> {
    /// Ready to copy: curl, the OpenAI SDK, the log's own commands.
    #[must_use]
    pub fn text(&self) -> String {
        let port = self.gateway_port;
        let file = |name: &str| quoted(&self.dir.join(name));
        let (root, token, config) = (file("pki/root.pem"), file("token"), file("haetae.toml"));
        format!(
            r#"
Everything still runs. In another terminal, as they stand:

A request that is allowed (to watch it stream, add -N to curl and "stream":true to the body):

curl --cacert {root} https://127.0.0.1:{port}/v1/chat/completions \
  -H "Authorization: Bearer $(cat {token})" -H 'Content-Type: application/json' \
  -H 'Haetae-Datasets: kr-retail/orders@1' \
  -d '{{"model":"{CHAT_MODEL}","messages":[{{"role":"user","content":"Hello"}}]}}'

The same with the OpenAI SDK (pip install openai), streaming:

SSL_CERT_FILE={root} OPENAI_API_KEY=$(cat {token}) python3 - <<'PY'
from openai import OpenAI
client = OpenAI(base_url="https://127.0.0.1:{port}/v1")
for chunk in client.chat.completions.create(
        model="{CHAT_MODEL}", stream=True,
        messages=[{{"role": "user", "content": "Hello"}}],
        extra_headers={{"Haetae-Datasets": "kr-retail/orders@1"}}):
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
PY

What was decided and why, what is registered, and whether the log is whole:

curl {console}/v1/decisions
{program} registry --config {config} show
{program} log --config {config} verify
curl --cacert {root} {log}/log/0/checkpoint

gateway   https://127.0.0.1:{port}   (the token in {token} is good for an hour)
console   {console}   (/readyz, /metrics, /v1/decisions)
log       {log}/log/0   (checkpoint, tile/0/000.p/1: C2SP tlog-tiles)
Postgres  psql '{database}'
files     {dir}   (haetae.toml, pki/, registry/, gateway.log)

Rules are reference material, unreviewed by counsel. Ctrl-C stops everything.
"#,
            console = self.console,
            log = self.log,
            database = self.database,
            program = quoted(self.program),
            dir = quoted(self.dir),
        )
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    //! What is printed can be pasted, wherever the demo's directory lies.
    use super::*;

    #[test]
    fn commands_start_at_the_line_and_paths_are_quoted() {
        let places = Places {
            gateway_port: 8443,
            console: "http://127.0.0.1:8444".to_owned(),
            log: "https://127.0.0.1:8445".to_owned(),
            dir: Path::new("/tmp/it's mine"),
            database: "postgres:///haetae".to_owned(),
            program: Path::new("target/debug/haetae"),
        };
        let text = places.text();
        assert!(text.contains(r"--cacert '/tmp/it'\''s mine/pki/root.pem' https"), "{text}");
        // a shell ends a here-document, and Python begins a statement, at the start of a line
        for line in ["curl --cacert ", "from openai ", "PY\n", "target/debug/haetae log --config '"]
        {
            assert!(text.contains(&format!("\n{line}")), "{line} in {text}");
        }
    }
}
