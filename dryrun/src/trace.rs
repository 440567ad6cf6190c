//! The report of a dry run, for a person or as JSON; docs/src/dryrun.md describes both.

use serde_json::{Value, json};

/// A line of a menu.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) label: String,
    /// A heading, or an empty line.
    pub(crate) gap: bool,
}

/// A menu, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Menu {
    pub(crate) source: String,
    pub(crate) title: Option<String>,
    pub(crate) items: Vec<Item>,
    pub(crate) default: Option<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) chosen: Option<String>,
    /// `operator`, `timeout`, `left` or `nobody`.
    pub(crate) by: &'static str,
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Lease {
        ip: String,
        router: String,
        next_server: String,
        filename: Option<String>,
    },
    Command {
        script: Option<String>,
        line: usize,
        words: Vec<String>,
    },
    Failed {
        errno: u32,
        reason: String,
        expected: bool,
    },
    /// A request has begun, a sign of life; [`Told::Request`] follows.
    Asking,
    Request {
        method: String,
        url: String,
        status: Option<u16>,
        bytes: u64,
        length: Option<u64>,
        redirect: Option<String>,
        error: Option<String>,
        /// Whether only the beginning was fetched.
        head: bool,
    },
    Print(String),
    /// A menu is shown.
    Shown(Menu),
    /// The choice in that menu.
    Menu(Menu),
    Note(String),
    /// What was chosen in a menu cannot be booted or shown; the menu follows.
    EntryFailed {
        step: &'static str,
        reason: String,
    },
    /// What would boot.
    Boot {
        kernel: String,
        initrds: Vec<String>,
        cmdline: String,
        fdt: Option<String>,
    },
    /// The boot is over.
    End(Decision),
}

/// Where a boot leads.
#[derive(Debug, Clone)]
pub(crate) enum Decision {
    Boot {
        kernel: String,
        initrds: Vec<String>,
        cmdline: String,
        fdt: Option<String>,
    },
    Local,
    Reset,
    Poweroff,
    Shell,
    Exit(u32),
    Fail {
        step: &'static str,
        reason: String,
    },
}

/// The step that failed, and why.
pub(crate) fn failure(error: &boot::Error) -> (&'static str, String) {
    let step = match error {
        boot::Error::Menu(_) => "menu",
        boot::Error::Fetch(_) => "fetch",
        boot::Error::Verify(_) => "verify",
        boot::Error::Load(_) => "load",
        boot::Error::Script(_) => "script",
    };
    let reason = error.to_string();
    let prefix = format!("{step}: ");
    let reason = reason.strip_prefix(&prefix).map_or(reason.clone(), Into::into);
    (step, reason)
}

impl Decision {
    /// The exit status of the program.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Boot { .. } => 0,
            Self::Fail { .. } => 1,
            Self::Exit(_) => 3,
            Self::Shell => 4,
            Self::Reset => 5,
            Self::Poweroff => 6,
            Self::Local => 7,
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Boot {
                kernel,
                initrds,
                cmdline,
                fdt,
            } => {
                json!({"event": "boot", "kernel": kernel, "initrds": initrds, "cmdline": cmdline, "fdt": fdt})
            }
            Self::Local => json!({"event": "local"}),
            Self::Reset => json!({"event": "reset"}),
            Self::Poweroff => json!({"event": "poweroff"}),
            Self::Shell => json!({"event": "shell"}),
            Self::Exit(status) => json!({"event": "exit", "status": status}),
            Self::Fail { step, reason } => json!({"event": "fail", "step": step, "reason": reason}),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Boot {
                kernel,
                initrds,
                cmdline,
                fdt,
            } => {
                let mut text = format!("boot     {kernel}\n");
                for initrd in initrds {
                    text.push_str(&format!("  initrd   {initrd}\n"));
                }
                text.push_str(&format!("  cmdline  {cmdline}\n"));
                let fdt = fdt.as_deref().unwrap_or("the firmware's");
                text + &format!("  fdt      {fdt}\n")
            }
            Self::Local => "local    the local disk is to boot\n".into(),
            Self::Reset => "reset    the board resets\n".into(),
            Self::Poweroff => "poweroff the board goes off\n".into(),
            Self::Shell => "shell    a prompt waits for a person\n".into(),
            Self::Exit(status) => format!("exit     the script ended with status {status}, nothing boots\n"),
            Self::Fail { step, reason } => format!("fail     in step {step}: {reason}\n"),
        }
    }
}

impl Told {
    /// The event as one line of JSON; `None` for events that only people need.
    pub(crate) fn json(&self) -> Option<String> {
        let value = match self {
            Self::Asking | Self::Shown(_) | Self::EntryFailed { .. } | Self::Boot { .. } => return None,
            Self::Lease {
                ip,
                router,
                next_server,
                filename,
            } => json!({
                "event": "lease", "ip": ip, "router": router, "next_server": next_server, "filename": filename
            }),
            Self::Command { script, line, words } => {
                json!({"event": "command", "script": script, "line": line, "words": words})
            }
            Self::Failed {
                errno,
                reason,
                expected,
            } => {
                json!({
                    "event": "failed", "errno": format!("{errno:08x}"), "reason": reason, "expected": expected
                })
            }
            Self::Request {
                method,
                url,
                status,
                bytes,
                length,
                redirect,
                error,
                head,
            } => json!({
                "event": "request", "method": method, "url": url, "status": status, "bytes": bytes,
                "length": length, "redirect": redirect, "error": error, "head": head
            }),
            Self::Print(text) => json!({"event": "print", "text": text}),
            Self::Menu(menu) => {
                let items = menu
                    .items
                    .iter()
                    .map(|item| json!({"name": item.name, "label": item.label, "gap": item.gap}));
                json!({
                    "event": "menu", "source": menu.source, "title": menu.title, "items": items.collect::<Value>(),
                    "default": menu.default, "timeout_ms": menu.timeout_ms, "chosen": menu.chosen, "by": menu.by
                })
            }
            Self::Note(text) => json!({"event": "note", "text": text}),
            Self::End(decision) => decision.json(),
        };
        Some(redacted(value).to_string() + "\n")
    }

    /// Lines for a person.
    pub(crate) fn text(&self) -> Option<String> {
        let text = match self {
            Self::Asking
            | Self::EntryFailed { .. }
            | Self::Boot { .. }
            | Self::Failed { expected: true, .. } => {
                return None;
            }
            Self::Lease {
                ip,
                router,
                next_server,
                filename,
            } => {
                let file = filename
                    .as_ref()
                    .map_or(String::new(), |file| format!(", boot file {file}"));
                format!("lease    {ip}, router {router}, next server {next_server}{file}\n")
            }
            Self::Command { script, line, words } => {
                let script = script.as_deref().unwrap_or_default();
                let name = script.rsplit('/').next().filter(|name| !name.is_empty());
                format!(
                    "command  {}:{line}: {}\n",
                    name.unwrap_or(script),
                    words.join(" ")
                )
            }
            Self::Failed { reason, .. } => format!("failed   {reason}\n"),
            Self::Request {
                method,
                url,
                status,
                bytes,
                length,
                redirect,
                error,
                head,
            } => {
                let mut text = format!("request  {method} {url}:");
                if let Some(status) = status {
                    text.push_str(&format!(" {status}"));
                }
                match (redirect, error) {
                    (Some(to), _) => text.push_str(&format!(", redirected to {to}")),
                    (None, Some(error)) => text.push_str(&format!(" failed: {error}")),
                    (None, None) if *head => {
                        text.push_str(&format!(
                            ", {} bytes, of which {bytes} were fetched: the rest is not verified",
                            length.unwrap_or_default()
                        ));
                    }
                    (None, None) => text.push_str(&format!(", {bytes} bytes")),
                }
                text + "\n"
            }
            Self::Print(text) => text
                .split_terminator('\n')
                .map(plain)
                .filter(|line| !line.is_empty())
                .map(|line| format!("print    {line}\n"))
                .collect(),
            Self::Shown(menu) => {
                let title = menu.title.as_deref().unwrap_or("without a title");
                let mut text = format!("menu     {title} ({})\n", menu.source);
                for item in &menu.items {
                    let mark = if menu.default.as_ref() == Some(&item.name) && !item.gap {
                        '*'
                    } else {
                        ' '
                    };
                    text.push_str(&match item.gap {
                        true => format!("             {}\n", item.label),
                        false => format!("         {mark} {:<20} {}\n", item.name, item.label),
                    });
                }
                text
            }
            Self::Menu(menu) => {
                let chosen = menu.chosen.as_deref().unwrap_or_default();
                match menu.by {
                    "operator" => format!("chosen   {chosen}\n"),
                    "timeout" => format!("chosen   {chosen}, because nobody was there\n"),
                    "left" => "chosen   nothing: the menu was left\n".into(),
                    _ => "chosen   nothing: nobody was there\n".into(),
                }
            }
            Self::Note(text) => format!("note     {text}\n"),
            Self::End(decision) => decision.text(),
        };
        let lines = text.split_inclusive('\n').map(|line| {
            let line = line.trim_end();
            format!("{}\n", plain(&boot::masked(line)))
        });
        Some(lines.collect())
    }
}

/// `text` without control characters and sequences.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => {
                // A control sequence ends with a letter.
                if chars.clone().next() == Some('[') {
                    chars.find(|c| c.is_ascii_alphabetic());
                }
            }
            '\t' => out.push(' '),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// `value` with the secrets in its texts hidden as the firmware's own messages hide them.
fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(boot::masked(&text)),
        Value::Array(values) => values.into_iter().map(redacted).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, redacted(value)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_hidden_in_every_form_of_the_trace() {
        for (text, hidden) in [
            ("chain http://u:S3CRET@h/x y", "chain http://***@h/x y"),
            ("http:/u:S3CRET@h/x", "http:/***@h/x"),
            ("inst.password=S3CRET quiet", "inst.password=*** quiet"),
        ] {
            let failed = Told::Failed {
                errno: 1,
                reason: text.into(),
                expected: false,
            };
            assert_eq!(failed.text().unwrap(), format!("failed   {hidden}\n"));
            assert!(failed.json().unwrap().contains(hidden));
            let command = Told::Command {
                script: None,
                line: 1,
                words: vec![text.into()],
            };
            assert!(command.json().unwrap().contains(hidden));
        }
    }

    #[test]
    fn control_sequences_do_not_reach_the_operator_s_terminal() {
        assert_eq!(plain("\x1b[2J\x1b[31mred\x07\ttext\x1b"), "red text");
    }
}
