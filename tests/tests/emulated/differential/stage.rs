//! A case on stage: the servers that it names, its script in a form that reports, and what was seen of it.

use std::collections::BTreeMap;

use qemu::http::{Answer, Request, Server};
use tests::cases::Case;
use tests::payload;

/// The servers that scripts name.
const HOSTS: [&str; 3] = ["h", "other", "cdn"];

/// The setting that collects what is echoed.
const SAID: &str = "compared-said";

/// The commands that wait for a person; here nobody is there, so they get a time.
const ASKING: [&str; 3] = ["choose", "prompt", "read"];

/// What a kernel is replaced with.
const KERNEL: &[u8] = b"#!ipxe\n";

/// A case with a server for each host that it names.
pub(super) struct Stage {
    /// The file that the case is in, and its title.
    pub(super) name: String,
    pub(super) case: Case,
    servers: BTreeMap<&'static str, Server>,
    /// What the step reports beside what was said.
    settings: Vec<String>,
}

/// What a case did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// In order, by server.
    pub(super) requests: Vec<String>,
    /// The number it ended with and the settings; none when it never came to its report.
    pub(super) report: Option<Vec<String>>,
}

impl Stage {
    /// The case with its servers, which run already.
    pub(super) fn new(name: String, case: Case) -> Self {
        let lines = || case.script.iter().chain(case.files.values().flatten());
        let named = |host: &&str| {
            let url = format!("://{host}");
            *host == "h"
                || lines()
                    .chain(case.redirects.values())
                    .any(|line| line.contains(&url))
        };
        let servers: BTreeMap<_, _> = HOSTS
            .into_iter()
            .filter(named)
            .map(|host| (host, Server::start().unwrap()))
            .collect();
        let mut settings: Vec<String> = lines().flat_map(|line| settings(line)).collect();
        settings.sort();
        settings.dedup();
        let stage = Self {
            name,
            case,
            servers,
            settings,
        };
        let mut case = stage.case.clone();
        let lines: Vec<String> = case.text().split('\n').map(str::to_owned).collect();
        let text = stage.placed(&told(&lines).join("\n"));
        for lines in case.files.values_mut() {
            if lines.first().is_some_and(|line| line.starts_with("#!")) {
                *lines = told(lines);
            }
        }
        let texts = case
            .files
            .values_mut()
            .flatten()
            .chain(case.redirects.values_mut());
        for text in texts {
            *text = stage.placed(text);
        }
        for server in stage.servers.values() {
            let (case, text) = (case.clone(), text.clone());
            server.otherwise(move |request| Some(answer(&case, &text, request)));
        }
        stage
    }

    /// `text` with the servers' addresses in place of their names.
    fn placed(&self, text: &str) -> String {
        self.servers.iter().fold(text.to_owned(), |text, (host, server)| {
            let place = format!("10.0.2.2:{}", server.address().port());
            text.replace(&format!("://{host}/"), &format!("://{place}/"))
                .replace(&format!("@{host}/"), &format!("@{place}/"))
        })
    }

    /// `text` with the servers' names in place of their addresses.
    fn named(&self, text: &str) -> String {
        self.servers.iter().fold(text.to_owned(), |text, (host, server)| {
            let port = server.address().port();
            text.replace(&format!("10.0.2.2:{port}"), host)
                .replace(&format!("10.0.2.2%3A{port}"), host)
        })
    }

    /// What runs the case and reports.
    pub(super) fn step(&self, number: usize) -> String {
        let mut clean = String::from("imgfree ||\nmenu --delete ||\nparams --delete ||\n");
        for setting in self.settings.iter().map(String::as_str).chain([SAID]) {
            clean.push_str(&format!("clear {setting} ||\n"));
        }
        let values: String = self
            .settings
            .iter()
            .enumerate()
            .map(|(index, setting)| format!("&{index}=${{{setting}:uristring}}"))
            .collect();
        let script = self.placed("http://h/dir/test.ipxe");
        format!(
            "#!ipxe\n{clean}\
             chain --autofree {script} && set compared-rc 0 || set compared-rc ${{errno}}\n\
             imgfetch --name report /report?case={number}&rc=${{compared-rc}}&said=${{{SAID}:uristring}}{values} ||\n\
             {clean}"
        )
    }

    /// What the servers got, and what was reported to the one on `port`.
    pub(super) fn seen(&self, report: Option<&Request>, port: u16) -> Seen {
        let mut requests = Vec::new();
        for (host, server) in &self.servers {
            let lines = server
                .requests()
                .into_iter()
                .map(|request| self.named(&line(&request)));
            requests.extend(lines.map(|line| format!("{host}: {line}")));
        }
        let report = report.map(|request| {
            let (_, query) = request.target.split_once('?').unwrap_or_default();
            let names = ["ended", "said"]
                .into_iter()
                .chain(self.settings.iter().map(String::as_str));
            let values = query.split('&').skip(1).filter_map(|field| field.split_once('='));
            names
                .zip(values)
                .map(|(name, (_, value))| {
                    let value = decoded(value).replace(&format!("10.0.2.2:{port}"), "boot");
                    format!("{name}: {}", self.named(&value))
                })
                .collect()
        });
        Seen { requests, report }
    }
}

/// Whether a case is content with the web servers that stand here, and leaves the network as it is.
pub(super) fn on_stage(case: &Case) -> bool {
    let mut lines = case.script.iter().chain(case.files.values().flatten());
    lines.all(|line| {
        ![
            "https://",
            "tftp://",
            "set net0/ip",
            "set net0/mac",
            "set net0/netmask",
            "set net0/gateway",
        ]
        .iter()
        .any(|other| line.contains(other))
    })
}

/// What a case's servers answer.
fn answer(case: &Case, script: &str, request: &Request) -> Answer {
    let target = request.target.as_str();
    if target == "/dir/test.ipxe" {
        return Answer::ok(script);
    }
    if let Some(to) = case.redirects.get(target) {
        return Answer::redirect(302, to);
    }
    if target.starts_with("/private") && request.header("Authorization").is_none() {
        return Answer::status(401, "").header("WWW-Authenticate", "Basic realm=\"lab\"");
    }
    match case.answer(target) {
        // What boots is a script that does nothing, for both alike.
        Ok(body) if body == payload::image(10_000) => Answer::ok(KERNEL),
        Ok(body) if body == payload::gzip(&payload::image(20_000)) => Answer::ok(payload::gzip(KERNEL)),
        Ok(body) => Answer::ok(body),
        Err(status) => Answer::status(status, ""),
    }
}

/// The value that `${setting:uristring}` stands for; what is no text is shown in hexadecimal.
fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value;
    while let Some((plain, after)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = after.get(..2).unwrap_or_default();
        bytes.push(u8::from_str_radix(digits, 16).expect("a byte in hexadecimal"));
        rest = &after[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    match std::str::from_utf8(&bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// A request as it is compared: without what says who asks.
fn line(request: &Request) -> String {
    let mut line = format!("{} {}", request.method, request.target);
    let ours = [
        "host",
        "user-agent",
        "connection",
        "accept",
        "accept-encoding",
        "content-length",
    ];
    let mut fields: Vec<String> = request
        .headers
        .iter()
        .filter(|(name, _)| !ours.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| format!(" {{{}: {value}}}", name.to_ascii_lowercase()))
        .collect();
    fields.sort();
    line.extend(fields);
    if !request.body.is_empty() {
        line.push_str(&format!(" [{}]", String::from_utf8_lossy(&request.body)));
    }
    line
}

/// Whether a word ends a command.
fn is_operator(word: &str) -> bool {
    ["||", "&&", ";"].contains(&word)
}

/// A script's lines with each `echo` as a `set` that appends.
fn told(lines: &[String]) -> Vec<String> {
    let mut continued = false;
    lines
        .iter()
        .map(|line| {
            let begins = !continued;
            continued = line.trim_end_matches('\r').ends_with('\\');
            let mut told = String::new();
            let mut command = begins;
            let mut words = line.split_inclusive([' ', '\t']).peekable();
            while let Some(piece) = words.next() {
                let word = piece.trim_end();
                let option = words.peek().is_some_and(|next| next.starts_with('-'));
                if command && word == "echo" && !option {
                    told.push_str(&piece.replacen("echo", &format!("set {SAID} ${{{SAID}}}|"), 1));
                } else if command
                    && ASKING.contains(&word)
                    && !line.contains(" --timeout ")
                    && !line.contains(" -t ")
                {
                    told.push_str(&format!("{word} --timeout 50 "));
                } else {
                    told.push_str(piece);
                }
                command = if word.is_empty() {
                    command
                } else {
                    is_operator(word) || command && word.starts_with(':')
                };
            }
            told
        })
        .collect()
}

/// The settings that a line sets.
fn settings(line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut found = Vec::new();
    for command in words.split(|word| is_operator(word)) {
        let command = match command {
            [label, rest @ ..] if label.starts_with(':') => rest,
            all => all,
        };
        let Some((name, rest)) = command.split_first() else {
            continue;
        };
        let setting = match *name {
            "set" | "inc" | "clear" | "imgset" | "nslookup" | "pciscan" => {
                rest.iter().find(|word| !word.starts_with('-'))
            }
            "choose" | "read" => rest.last(),
            _ => rest
                .iter()
                .position(|word| ["--set", "-s"].contains(word))
                .and_then(|at| rest.get(at + 1)),
        };
        let Some(setting) = setting else { continue };
        let setting = setting.split(':').next().unwrap_or_default();
        if !setting.is_empty()
            && setting
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        {
            found.push(setting.to_owned());
        }
    }
    found
}

/// The commands that a case uses, by their names in the scripts.
pub(super) fn commands(case: &Case) -> impl Iterator<Item = &str> {
    let lines = case.script.iter().chain(case.files.values().flatten());
    lines.flat_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let commands = words.split(|word| is_operator(word));
        let names =
            commands.filter_map(|command| command.iter().find(|word| !word.starts_with(':')).copied());
        names.collect::<Vec<_>>()
    })
}
