//! The program as an operator runs it, against real servers on loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use qemu::http::{Answer, Server};
use serde_json::{Value, json};

/// An arm64 Image (Linux, Documentation/arch/arm64/booting.rst) of so many bytes.
fn image(len: usize) -> Vec<u8> {
    let mut bytes = vec![0xa5; len];
    bytes[..64].fill(0);
    bytes[..4].copy_from_slice(&0x1400_0010_u32.to_le_bytes());
    bytes[16..24].copy_from_slice(&(len as u64 + 4096).to_le_bytes());
    bytes[24..32].copy_from_slice(&0b1010_u64.to_le_bytes());
    bytes[56..60].copy_from_slice(b"ARM\x64");
    bytes
}

/// What `server` has at `path`.
fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address())
}

/// A server with a kernel and a ramdisk.
fn server() -> Server {
    let server = Server::start().unwrap();
    server.put("/vmlinuz", Answer::ok(image(3 << 20)));
    server.put(
        "/initrd",
        Answer::ok([&[0x28, 0xb5, 0x2f, 0xfd][..], &[0; 2 << 20]].concat()),
    );
    server
}

/// Runs the program: its exit status, and its lines.
fn run(source: &str, options: &[&str]) -> (i32, Vec<String>) {
    let output = Command::new(env!("CARGO_BIN_EXE_bramble-dryrun"))
        .arg(source)
        .args(options)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (
        output.status.code().unwrap(),
        text.lines().map(Into::into).collect(),
    )
}

/// The same with `--json`.
fn trace(source: &str, options: &[&str]) -> (i32, Vec<Value>) {
    let (code, lines) = run(source, &[&["--json"], options].concat());
    let parsed = lines.iter().map(|line| serde_json::from_str(line).expect(line));
    (code, parsed.collect())
}

/// The events of one kind.
fn of<'t>(trace: &'t [Value], kind: &str) -> Vec<&'t Value> {
    trace.iter().filter(|event| event["event"] == kind).collect()
}

/// A directory of this test's own with these files.
fn directory(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    for (file, bytes) in files {
        let file = path.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }
    path
}

#[test]
fn a_script_s_trace_is_stable() {
    let directory = directory(
        "golden",
        &[
            ("menu.ipxe", b"#!ipxe\nisset ${role} || set role none\necho I am ${role} at ${ip}\nkernel k root=${role}\ninitrd i\nboot\n"),
            ("k", &image(5000)),
            ("i", &[1, 2, 3]),
        ],
    );
    let file = directory.join("menu.ipxe");
    let (code, trace) = trace(
        file.to_str().unwrap(),
        &["--set", "role=web", "--ip", "192.0.2.9/24"],
    );
    let script = "http://192.0.2.2/menu.ipxe";
    let command = |line: u32, words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        json!({"event": "command", "script": script, "line": line, "words": words})
    };
    let request = |url: &str, bytes: usize| {
        json!({
            "event": "request", "method": "GET", "url": url, "status": 200, "bytes": bytes, "length": bytes,
            "redirect": null, "error": null, "head": false
        })
    };
    assert_eq!(
        trace,
        [
            json!({
                "event": "lease", "ip": "192.0.2.9/24", "router": "192.0.2.2", "next_server": "192.0.2.2",
                "filename": script
            }),
            request(script, 101),
            command(2, "isset web"),
            command(3, "echo I am web at 192.0.2.9"),
            json!({"event": "print", "text": "I am web at 192.0.2.9\n"}),
            command(4, "kernel k root=web"),
            request("http://192.0.2.2/k", 5000),
            command(5, "initrd i"),
            request("http://192.0.2.2/i", 3),
            command(6, "boot"),
            json!({
                "event": "boot", "kernel": "http://192.0.2.2/k", "initrds": ["http://192.0.2.2/i"],
                "cmdline": "root=web", "fdt": null
            }),
        ]
    );
    assert_eq!(code, 0);
}

#[test]
fn every_hop_is_a_request_and_the_decision_names_the_last() {
    let server = server();
    server.put("/start", Answer::redirect(302, "/menu"));
    server.put(
        "/menu",
        Answer::ok("DEFAULT a\nLABEL a\nKERNEL k\nINITRD initrd\nAPPEND quiet\n").chunked(7),
    );
    server.put("/k", Answer::redirect(307, "/vmlinuz"));
    let (code, trace) = trace(&url(&server, "/start"), &[]);
    let requests = of(&trace, "request");
    let steps: Vec<_> = requests
        .iter()
        .map(|r| (r["status"].as_u64().unwrap(), r["url"].clone()))
        .collect();
    assert_eq!(
        steps,
        [
            (302, "/start"),
            (200, "/menu"),
            // With HEAD: is it there, before the kernel is fetched?
            (200, "/initrd"),
            (307, "/k"),
            (200, "/vmlinuz"),
            (200, "/initrd")
        ]
        .map(|(status, path)| (status, Value::from(url(&server, path))))
    );
    assert_eq!(requests[2]["method"], "HEAD");
    assert_eq!(requests[0]["redirect"], url(&server, "/menu"));
    // The server did not say how long it would be.
    assert_eq!(requests[1]["length"], Value::Null);
    assert_eq!(
        trace.last().unwrap(),
        &json!({
            "event": "boot", "kernel": url(&server, "/vmlinuz"), "initrds": [url(&server, "/initrd")],
            "cmdline": "quiet", "fdt": null
        })
    );
    assert_eq!(code, 0);
    assert_eq!(server.requests().len(), 6);
}

#[test]
fn passwords_are_sent_and_not_shown() {
    let server = server();
    let source = url(&server, "/menu.ipxe").replace("http://", "http://node:geheim@");
    let script = Answer::ok(format!("#!ipxe\necho {source}\nchain {source}x\n"));
    let asks = Answer::status(401, "who?").header("WWW-Authenticate", "Basic realm=\"lab\"");
    server.put_sequence("/menu.ipxe", vec![asks, script]);
    let (code, lines) = run(&source, &["--json"]);
    assert_eq!(code, 1, "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("geheim")), "{lines:?}");
    let sent = server.requests();
    assert_eq!(sent[0].header("Authorization"), None, "nobody had asked for it");
    assert_eq!(sent[1].header("Authorization"), Some("Basic bm9kZTpnZWhlaW0="));
    let (_, lines) = run(&source, &[]);
    assert!(lines.iter().all(|line| !line.contains("geheim")), "{lines:?}");
}

#[test]
fn parameters_are_posted() {
    let server = server();
    server.put(
        "/menu.ipxe",
        Answer::ok("#!ipxe\nparams\nparam mac ${mac}\nparam board ${asset}\nchain next##params\n"),
    );
    server.put("/next", Answer::ok("#!ipxe\nexit\n"));
    let options = ["--mac", "b8:27:eb:00:00:07", "--board", "3b+"];
    let (code, trace) = trace(&url(&server, "/menu.ipxe"), &options);
    let sent = server.requests();
    assert_eq!(sent[1].method, "POST");
    assert_eq!(of(&trace, "request")[1]["method"], "POST");
    assert_eq!(trace.last().unwrap(), &json!({"event": "exit", "status": 0}));
    assert_eq!(code, 3);
}

const MENU: &str = "#!ipxe\n\
    menu Systems\nitem --gap -- Linux\nitem a Alpha\nitem b Beta\nitem sh A shell\nitem re Again\nitem off Off\n\
    item bad Bad\nitem stay Stay\n\
    choose --timeout 20000 --default a what\ngoto ${what}\n\
    :a\nkernel vmlinuz a\nboot\n\
    :b\nmenu More\nitem x X\nitem y The Y\nchoose --timeout 5000 it && kernel vmlinuz ${it}\nboot\n\
    :sh\nshell\n:re\nreboot\n:off\npoweroff\n:bad\nexit 7\n\
    :stay\nsleep 100\ngoto stay\n";

#[test]
fn what_is_chosen_decides_and_has_its_exit_status() {
    let server = server();
    server.put("/menu.ipxe", Answer::ok(MENU));
    let source = url(&server, "/menu.ipxe");
    for (choices, code, decision) in [
        (&[][..], 0, json!("a")),
        (&["b"], 0, json!("x")),
        (&["Beta", "y"], 0, json!("y")),
        (&["b", "The Y"], 0, json!("y")),
        (&["A shell"], 4, json!({"event": "shell"})),
        (&["re"], 5, json!({"event": "reset"})),
        (&["bad"], 3, json!({"event": "exit", "status": 7})),
        (
            &["gamma"],
            1,
            json!({
                "event": "fail", "step": "choose",
                "reason": "no menu had \"gamma\"; there were a (Alpha), b (Beta), sh (A shell), re (Again), off (Off), \
                           bad (Bad), stay (Stay)"
            }),
        ),
    ] {
        let options: Vec<&str> = choices.iter().flat_map(|choice| ["--choose", *choice]).collect();
        let (got, trace) = trace(&source, &options);
        let last = trace.last().unwrap();
        let line = if decision.is_string() {
            &last["cmdline"]
        } else {
            last
        };
        assert_eq!((got, line), (code, &decision), "{choices:?}");
    }
    let off = ["--choose", "off", "--set", "bramble.poweroff=1"];
    let (code, allowed) = trace(&source, &off);
    assert_eq!((code, allowed.last()), (6, Some(&json!({"event": "poweroff"}))));
    let (code, refused) = trace(&source, &off[..2]);
    let reason = refused.last().unwrap()["reason"].as_str().unwrap();
    assert!(
        code == 1 && reason.contains("poweroff: not allowed"),
        "{code} {reason}"
    );
    let (_, trace) = trace(&source, &["--choose", "b"]);
    let menus = of(&trace, "menu");
    assert_eq!(
        (&menus[0]["chosen"], &menus[0]["by"]),
        (&json!("b"), &json!("operator"))
    );
    assert_eq!(
        (&menus[1]["chosen"], &menus[1]["by"]),
        (&json!("x"), &json!("timeout"))
    );
    assert_eq!(
        menus[0]["items"][0],
        json!({"name": "", "label": "Linux", "gap": true})
    );
}

#[test]
fn what_never_decides_is_given_up_after_the_node_s_time_or_too_many_requests() {
    let server = server();
    server.put("/menu.ipxe", Answer::ok(MENU));
    server.put("/loop", Answer::ok("#!ipxe\nchain loop\n"));
    // Two hours of sleep take no time here.
    let (code, stays) = trace(
        &url(&server, "/menu.ipxe"),
        &["--choose", "stay", "--patience", "7200"],
    );
    assert_eq!((code, &stays.last().unwrap()["step"]), (1, &json!("time")));
    assert!(of(&stays, "command").len() > 70);
    let (code, loops) = trace(&url(&server, "/loop"), &["--requests", "20"]);
    assert_eq!((code, &loops.last().unwrap()["step"]), (1, &json!("requests")));
    assert_eq!(of(&loops, "request").len(), 20);
}

#[test]
fn a_script_that_says_no_is_local_with_the_boards_setting() {
    let server = server();
    for (script, without, with) in [
        ("exit", 3, 7),
        ("exit 1", 3, 7),
        ("sanboot --no-describe --drive 0x80", 1, 7),
        ("chain /nothing || exit", 3, 7),
        ("chain /broken || exit", 3, 3),
        ("chain /broken || sanboot --drive 0x80", 1, 1),
        ("chain /nothing", 1, 1),
    ] {
        server.put("/broken", Answer::status(500, "x"));
        server.put("/script", Answer::ok(format!("#!ipxe\n{script}\n")));
        let source = url(&server, "/script");
        assert_eq!(trace(&source, &[]).0, without, "{script}");
        for cmdline in [
            "bramble.local=tryboot",
            "quiet bramble.attempts=3 bramble.local=partition:2",
        ] {
            assert_eq!(
                trace(&source, &["--cmdline", cmdline]).0,
                with,
                "{script} {cmdline}"
            );
        }
        assert_eq!(
            trace(&source, &["--cmdline", "bramble.local=off"]).0,
            without,
            "{script}"
        );
    }
}

#[test]
fn a_pxelinux_menu_is_walked_by_its_labels() {
    let server = server();
    server.put(
        "/menu",
        Answer::ok(
            "UI menu.c32\nPROMPT 0\nTIMEOUT 50\nMENU TITLE Lab\nDEFAULT one\nLABEL one\nMENU LABEL ^One\nKERNEL vmlinuz\n\
             MENU BEGIN deep\nMENU TITLE Deeper\nLABEL two\nMENU LABEL Number two\nKERNEL vmlinuz\nAPPEND two\n\
             LABEL pc\nKERNEL memdisk.c32\nMENU END\nLABEL disk\nLOCALBOOT 0\n",
        ),
    );
    let source = url(&server, "/menu");
    let (code, chosen) = trace(&source, &["--choose", "Number two"]);
    assert_eq!((code, &chosen.last().unwrap()["cmdline"]), (0, &json!("two")));
    let (code, chosen) = trace(&source, &["--choose", "disk"]);
    assert_eq!((code, chosen.last().unwrap()), (7, &json!({"event": "local"})));
    let note = of(&chosen, "note")[0]["text"].as_str().unwrap();
    assert!(note.contains("bramble.local"), "{note}");
    // Without a person too: the disk was meant, and it did not fail.
    server.put(
        "/disk",
        Answer::ok("DEFAULT disk\nONERROR one net=1\nLABEL one\nKERNEL vmlinuz\nLABEL disk\nLOCALBOOT 0\n"),
    );
    let (code, unattended) = trace(&url(&server, "/disk"), &[]);
    assert_eq!(
        (code, unattended.last().unwrap()),
        (7, &json!({"event": "local"}))
    );
    // A person could choose again: the operator hears why it does not boot.
    let (code, chosen) = trace(&source, &["--choose", "pc"]);
    assert_eq!(
        (code, &chosen.last().unwrap()["step"]),
        (1, &json!("menu")),
        "{chosen:?}"
    );
    let (code, nobody) = trace(&source, &[]);
    assert_eq!((code, &nobody.last().unwrap()["event"]), (0, &json!("boot")));
}

#[test]
fn a_menu_in_pxelinux_cfg_has_its_files_above_it() {
    let menus = directory(
        "installer",
        &[
            ("linux", &image(5000)),
            ("initrd.gz", &[0x1f, 0x8b, 8, 0]),
            (
                "pxelinux.cfg/default",
                b"DEFAULT install\nPROMPT 0\nTIMEOUT 10\nLABEL install\n  KERNEL linux\n  INITRD initrd.gz\n  APPEND quiet\n",
            ),
        ],
    )
    .join("pxelinux.cfg");
    let (code, trace) = trace(menus.join("default").to_str().unwrap(), &["--ip", "192.0.2.9/24"]);
    assert_eq!(code, 0, "{trace:?}");
    assert_eq!(
        of(&trace, "menu")[0]["source"],
        "http://192.0.2.2/pxelinux.cfg/default"
    );
    let boot = of(&trace, "boot")[0];
    assert_eq!(boot["kernel"], "http://192.0.2.2/linux");
    assert_eq!(boot["initrds"], json!(["http://192.0.2.2/initrd.gz"]));
}

/// A boot server's tree with an installer in it, and these files.
fn tree(name: &str, more: &[(&str, &[u8])]) -> PathBuf {
    let mut files: Vec<(&str, &[u8])> = vec![
        ("pxelinux.0", b"a program for PCs"),
        (
            "pxelinux.cfg/default",
            b"DEFAULT install\nINCLUDE debian-installer/arm64/boot-screens/txt.cfg\nPROMPT 0\nTIMEOUT 10\n",
        ),
        (
            "debian-installer/arm64/boot-screens/txt.cfg",
            b"LABEL install\n  KERNEL debian-installer/arm64/linux\n  \
              APPEND initrd=debian-installer/arm64/initrd.gz --- quiet\n",
        ),
    ];
    let kernel = image(200_000);
    files.push(("debian-installer/arm64/linux", &kernel));
    files.push(("debian-installer/arm64/initrd.gz", &[7; 70_000]));
    files.extend(more);
    directory(name, &files)
}

/// Rehearses a tree: the exit status and the trace.
fn rehearse(tree: &std::path::Path, options: &[&str]) -> (i32, Vec<Value>) {
    let tree = format!("--tree={}", tree.display());
    trace(&tree, &[&["--ip", "192.0.2.9/24"], options].concat())
}

/// What was asked for: `METHOD URL STATUS` each.
fn requests(trace: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let requests = of(trace, "request").into_iter();
    let requests = requests.map(|r| format!("{} {} {}", text(&r["method"]), text(&r["url"]), r["status"]));
    requests.collect()
}

#[test]
fn a_tree_is_rehearsed_as_a_node_would_meet_it() {
    let tree = tree("tree", &[]);
    let decision = |root: &str| {
        json!({
            "event": "boot", "kernel": format!("{root}/debian-installer/arm64/linux"),
            "initrds": [format!("{root}/debian-installer/arm64/initrd.gz")], "fdt": null,
            "cmdline": "initrd=debian-installer/arm64/initrd.gz --- quiet"
        })
    };
    let web = "http://192.0.2.2";
    let (code, both) = rehearse(&tree, &["--filename", "pxelinux.0"]);
    assert_eq!((code, both.last()), (0, Some(&decision(web))), "{both:?}");
    assert_eq!(of(&both, "lease")[0]["filename"], "pxelinux.0");
    let asked = requests(&both);
    // The node's own search, name by name.
    assert_eq!(asked[0], format!("GET {web}/autoexec.ipxe 404"));
    assert!(
        asked.contains(&format!("GET {web}/pxelinux.cfg/01-dc-a6-32-00-00-01 404")),
        "{asked:?}"
    );
    assert!(
        asked.contains(&format!("GET {web}/pxelinux.cfg/default 200")),
        "{asked:?}"
    );
    // DHCP need not name a program whose directory is the root.
    let (code, nameless) = rehearse(&tree, &[]);
    assert_eq!((code, nameless.last()), (0, Some(&decision(web))), "{nameless:?}");
    assert_eq!(of(&nameless, "lease")[0]["filename"], Value::Null);
    assert_eq!(requests(&nameless), asked);
    // It stands where DHCP says.
    let (code, moved) = rehearse(
        &tree,
        &["--filename", "pxelinux.0", "--set", "next-server=198.51.100.7"],
    );
    assert_eq!(
        (code, moved.last()),
        (0, Some(&decision("http://198.51.100.7"))),
        "{moved:?}"
    );
    // A site without a web server, and one without TFTP.
    let (code, tftp) = rehearse(&tree, &["--filename", "pxelinux.0", "--serve", "tftp"]);
    assert_eq!(
        (code, tftp.last()),
        (0, Some(&decision("tftp://192.0.2.2"))),
        "{tftp:?}"
    );
    let refused = &of(&tftp, "request")[0];
    assert_eq!(refused["error"], "192.0.2.2: connection refused");
    assert_eq!(
        requests(&tftp)
            .iter()
            .filter(|asked| asked.contains("http:"))
            .count(),
        1
    );
    let (code, http) = rehearse(&tree, &["--filename", "pxelinux.0", "--serve", "http"]);
    assert_eq!((code, http.last()), (0, Some(&decision(web))), "{http:?}");
    std::fs::write(
        tree.join("tftp.ipxe"),
        "#!ipxe\nchain tftp://${next-server}/pxelinux.cfg/default\n",
    )
    .unwrap();
    let (code, http) = rehearse(&tree, &["--filename", "tftp.ipxe", "--serve", "http"]);
    let refused = of(&http, "request")[1]["error"].as_str().unwrap();
    assert!(
        code == 1 && refused.contains("nobody listens on that port"),
        "{http:?}"
    );
}

#[test]
fn what_dhcp_says_and_whose_node_it_is_decide_what_a_tree_boots() {
    let menu =
        |word: &str| format!("LABEL a\nKERNEL /debian-installer/arm64/linux\nAPPEND {word}\n").into_bytes();
    let tree = tree(
        "tree-nodes",
        &[
            ("pxelinux.cfg/01-b8-27-eb-00-00-07", &menu("seventh")),
            ("lab/pxelinux.cfg/default", &menu("lab")),
            ("menus/one", &menu("one")),
            (
                "boot.ipxe",
                b"#!ipxe\nkernel debian-installer/arm64/linux ${root-path}\nboot\n",
            ),
        ],
    );
    for (options, words) in [
        (
            &["--filename", "pxelinux.0", "--mac", "b8:27:eb:00:00:07"][..],
            "seventh",
        ),
        (
            &["--filename", "lab/pxelinux.0", "--mac", "b8:27:eb:00:00:07"],
            "lab",
        ),
        (&["--filename", "pxelinux.0", "--set", "209=menus/one"], "one"),
        (&["--filename", "pxelinux.0", "--set", "210=/lab/"], "lab"),
        (
            &["--set", "filename=boot.ipxe", "--set", "root-path=nfs:/srv"],
            "nfs:/srv",
        ),
    ] {
        for serve in ["both", "tftp"] {
            let (code, trace) = rehearse(&tree, &[options, &["--serve", serve]].concat());
            let last = trace.last().unwrap();
            assert_eq!(
                (code, &last["cmdline"]),
                (0, &json!(words)),
                "{options:?} {serve}: {trace:?}"
            );
        }
    }
    let (code, wrong) = rehearse(&tree, &["--filename", "boot.ipxee.cfg"]);
    assert!(
        of(&wrong, "request")[0]["url"] == "http://192.0.2.2/boot.ipxee.cfg" && code == 0,
        "{wrong:?}"
    );
}

#[test]
fn what_leads_out_of_a_tree_is_refused() {
    let menu = b"LABEL a\nKERNEL /debian-installer/arm64/linux\n";
    let secret = directory("secret", &[("menu", menu)]);
    let tree = tree("tree-links", &[("inside", menu)]);
    let link = |to: PathBuf, name: &str| {
        let link = tree.join(name);
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(to, link).unwrap();
    };
    link(tree.join("inside"), "within.cfg");
    link(secret.join("menu"), "outside.cfg");
    // A node's own menu: nothing else boots in its stead.
    link(secret.join("menu"), "pxelinux.cfg/01-b8-27-eb-00-00-07");
    link(secret, "elsewhere");
    for (serve, refusal) in [
        ("http", "403 Forbidden"),
        ("tftp", "access violation: out of the tree, or not to be read"),
    ] {
        let rehearse = |name: &str, mac: &str| {
            let (code, trace) = rehearse(&tree, &["--filename", name, "--serve", serve, "--mac", mac]);
            (code, trace.last().unwrap().clone())
        };
        let (seventh, other) = ("b8:27:eb:00:00:07", "b8:27:eb:00:00:08");
        assert_eq!(rehearse("within.cfg", other).0, 0);
        assert_eq!(rehearse("pxelinux.0", other).0, 0);
        for (name, mac) in [
            ("outside.cfg", other),
            ("elsewhere/pxelinux.cfg/menu", other),
            ("elsewhere/nothing.cfg", other),
            ("pxelinux.0", seventh),
        ] {
            let (code, fail) = rehearse(name, mac);
            let reason = fail["reason"].as_str().unwrap();
            assert!(code == 1 && reason.contains(refusal), "{serve} {name}: {fail}");
        }
    }
}

#[test]
fn an_operator_s_choice_that_comes_to_nothing_is_no_success() {
    let server = server();
    server.put(
        "/menu",
        Answer::ok(
            "UI menu.c32\nPROMPT 0\nTIMEOUT 50\nDEFAULT disk\nLABEL disk\nLOCALBOOT 0\nLABEL gone\nKERNEL gone\n\
             LABEL locked\nMENU PASSWD secret\nKERNEL vmlinuz\n\
             MENU BEGIN deep\nMENU TITLE Deeper\nLABEL two\nKERNEL vmlinuz\nAPPEND two\nMENU END\n",
        ),
    );
    let source = url(&server, "/menu");
    for (choices, step) in [
        (&["dsik"][..], "choose"),
        (&["locked"], "choose"),
        (&["deep", "three"], "choose"),
        (&["gone"], "fetch"),
    ] {
        let options: Vec<&str> = choices.iter().flat_map(|choice| ["--choose", *choice]).collect();
        let (code, trace) = trace(&source, &options);
        assert_eq!(
            (code, &trace.last().unwrap()["step"]),
            (1, &json!(step)),
            "{choices:?}: {trace:?}"
        );
    }
    // Through the submenu's own entry, or at once.
    let (code, trace) = trace(&source, &["--choose", "deep", "--choose", "two"]);
    assert_eq!((code, &trace.last().unwrap()["cmdline"]), (0, &json!("two")));
    assert_eq!(of(&trace, "menu")[0]["chosen"], "two");
}

#[test]
fn with_head_the_rest_of_a_payload_stays_where_it_is() {
    let server = server();
    let len = 64 << 20;
    server.put("/big", Answer::zeros(len));
    server.put(
        "/menu.ipxe",
        Answer::ok("#!ipxe\nkernel vmlinuz\ninitrd big\nboot\n"),
    );
    let (code, heads) = trace(&url(&server, "/menu.ipxe"), &["--head"]);
    assert_eq!((code, &heads.last().unwrap()["event"]), (0, &json!("boot")));
    let requests = of(&heads, "request");
    // A script is fetched whole.
    assert_eq!(requests[0]["head"], json!(false));
    for (request, len) in [(requests[1], 3 << 20), (requests[2], len)] {
        assert_eq!(
            (&request["head"], &request["length"]),
            (&json!(true), &json!(len))
        );
        assert!(request["bytes"].as_u64().unwrap() < 300_000, "{request}");
    }
    assert!(server.sent("/big") < len / 4, "{}", server.sent("/big"));
    // What the first bytes tell is told.
    server.put(
        "/vmlinuz",
        Answer::ok([b"<!DOCTYPE html>".to_vec(), vec![b' '; 2 << 20]].concat()),
    );
    let (code, page) = trace(&url(&server, "/menu.ipxe"), &["--head"]);
    assert_eq!((code, &page.last().unwrap()["event"]), (1, &json!("fail")));
}

#[test]
fn servers_that_are_not_there() {
    let server = server();
    let (code, absent) = trace(&url(&server, "/nothing.ipxe"), &[]);
    let fail = absent.last().unwrap();
    assert_eq!((code, &fail["step"]), (1, &json!("menu")), "{fail}");
    assert_eq!(of(&absent, "request")[0]["status"], json!(404));
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, refused) = trace(&format!("http://{closed}/menu.ipxe"), &[]);
    let error = of(&refused, "request")[0]["error"].as_str().unwrap();
    assert_eq!((code, error), (1, "127.0.0.1: connection refused"));
    let (code, nameless) = trace("http://no-such-host.invalid/menu.ipxe", &[]);
    let error = of(&nameless, "request")[0]["error"].as_str().unwrap();
    assert!(code == 1 && error.contains("no such name"), "{error}");
    let (code, nobody) = trace("http://no-such-host.local/menu.ipxe", &[]);
    let error = of(&nobody, "request")[0]["error"].as_str().unwrap();
    assert!(code == 1 && error.contains("by mDNS within 5 s"), "{error}");
}

#[test]
fn an_answer_that_breaks_off_is_told_as_such() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n#!ipxe\n");
        }
    });
    let (code, broken) = trace(&format!("http://{address}/menu.ipxe"), &[]);
    let error = of(&broken, "request")[0]["error"].as_str().unwrap();
    assert_eq!((code, error), (1, "truncated after 7 of 100 bytes"));
}

#[test]
fn files_come_by_tftp_too() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            // A server without options: one block, from a port of its own.
            if buffer[..2] == [0, 1] && buffer[2..len].starts_with(b"menu.ipxe\0") {
                let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                own.send_to(b"\0\x03\0\x01#!ipxe\nexit 2\n", from).unwrap();
            }
        }
    });
    let (code, trace) = trace(&format!("tftp://{address}/menu.ipxe"), &[]);
    assert_eq!(
        (code, trace.last().unwrap()),
        (3, &json!({"event": "exit", "status": 2})),
        "{trace:?}"
    );
    let request = of(&trace, "request")[0];
    assert_eq!(
        (&request["status"], &request["bytes"]),
        (&Value::Null, &json!(14))
    );
}

#[test]
fn a_command_line_that_cannot_be_obeyed() {
    for options in [&["--board", "5"][..], &["--nonsense"], &["--set", "x"]] {
        let (code, lines) = run("http://127.0.0.1/x", options);
        assert_eq!(code, 2, "{lines:?}");
        assert!(lines[0].starts_with("bramble-dryrun: "), "{lines:?}");
    }
    assert_eq!(run("no-such-file", &[]).0, 2);
    assert_eq!(run("--tree", &["no-such-directory"]).0, 2);
}

/// The first block of code behind some words of a page of the user's guide.
fn example(page: &str, behind: &str) -> String {
    let (_, rest) = page.split_once(behind).expect(behind);
    let lines = rest.lines().skip_while(|line| !line.starts_with("    "));
    lines
        .take_while(|line| line.is_empty() || line.starts_with("    "))
        .map(|line| line.strip_prefix("    ").unwrap_or(line).to_owned() + "\n")
        .collect()
}

/// What boots of a text: kernel and initrds by their paths, and the command line.
fn booted(server: &Server, text: &str, options: &[&str]) -> (String, Vec<String>, String) {
    let here = format!("http://{}", server.address());
    server.put("/menu", Answer::ok(text.replace("http://192.168.77.1", &here)));
    let (code, trace) = trace(&url(server, "/menu"), options);
    let boot = of(&trace, "boot");
    let [boot] = boot.as_slice() else {
        panic!("{code}: {text}\n{trace:?}")
    };
    assert_eq!(code, 0);
    let path = |value: &Value| value.as_str().unwrap().replace(&here, "");
    let initrds = boot["initrds"].as_array().unwrap().iter().map(path).collect();
    (path(&boot["kernel"]), initrds, path(&boot["cmdline"]))
}

#[test]
fn the_examples_of_the_guide_boot_as_typed() {
    let server = server();
    let menu = example(include_str!("../../docs/src/menus.md"), "# Menus\n");
    let (initrd, console) = (vec!["/initrd".to_owned()], "console=ttyAMA0,115200");
    assert_eq!(
        booted(&server, &menu, &[]),
        ("/vmlinuz".into(), initrd.clone(), console.into())
    );
    assert_eq!(
        booted(&server, &menu, &["--choose", "rescue"]),
        ("/vmlinuz".into(), initrd, format!("{console} rescue"))
    );
    server.put("/trixie/vmlinuz", Answer::ok(image(5000)));
    server.put("/trixie/initrd.gz", Answer::ok([7; 10]));
    let script = example(include_str!("../../docs/src/ipxe.md"), "");
    assert_eq!(
        booted(
            &server,
            &script,
            &["--choose", "trixie", "--set", "hostname=node7"]
        ),
        (
            "/trixie/vmlinuz".into(),
            vec!["/trixie/initrd.gz".into()],
            format!("{console} hostname=node7")
        )
    );
}

#[test]
fn the_entries_for_trees_with_grub_menus_boot() {
    let server = server();
    let entries = example(
        include_str!("../../docs/src/servers.md"),
        "\n## Trees that hold GRUB menus only\n",
    );
    let entries: Vec<&str> = entries.split("LABEL ").skip(1).collect();
    assert_eq!(entries.len(), 4);
    for entry in entries {
        let files = entry
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("http://192.168.77.1"));
        let files: Vec<&str> = files.take(2).collect();
        server.put(files[0], Answer::ok(image(5000)));
        server.put(files[1], Answer::ok([7; 10]));
        let (kernel, initrds, _) = booted(&server, &format!("LABEL {entry}"), &["--head"]);
        assert_eq!((&*kernel, &*initrds), (files[0], &[files[1].to_owned()][..]));
    }
}

/// A board's own device tree, as the firmware leaves it: of a Pi 3 with 448 MiB.
fn own_tree(bootargs: &str, compatible: &[&str]) -> Vec<u8> {
    use dtoolkit::ToPropertyValue;
    use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
    fn set(node: &mut DeviceTreeNode, name: &str, value: impl ToPropertyValue) {
        node.add_property(DeviceTreeProperty::new_unchecked(name, value));
    }
    let child = |name: &str| DeviceTreeNode::new_unchecked(name);
    let mut tree = DeviceTree::new();
    for cells in ["#address-cells", "#size-cells"] {
        set(&mut tree.root, cells, 1_u32);
    }
    set(&mut tree.root, "compatible", compatible);
    set(&mut tree.root, "serial-number", "00000000cafe0003");
    let mut system = child("system");
    set(&mut system, "linux,revision", 0x00a0_2082_u32);
    let mut chosen = child("chosen");
    set(&mut chosen, "bootargs", bootargs);
    set(&mut chosen, "stdout-path", "serial1:115200n8");
    let mut aliases = child("aliases");
    set(&mut aliases, "ethernet0", "/eth");
    set(&mut aliases, "serial1", "/serial@7e215040");
    let mut memory = child("memory@0");
    set(&mut memory, "device_type", "memory");
    set(&mut memory, "reg", [0_u32, 448 << 20]);
    let mut eth = child("eth");
    set(&mut eth, "local-mac-address", [0xb8_u8, 0x27, 0xeb, 7, 8, 9]);
    for node in [system, chosen, aliases, memory, eth, child("serial@7e215040")] {
        tree.root.add_child(node);
    }
    tree.to_dtb()
}

#[test]
fn the_settings_in_a_board_s_own_tree_count() {
    let server = server();
    server.put("/k", Answer::ok(image(5000)));
    let label = |name: &str| format!("LABEL {name}\nLINUX k\nAPPEND entry={name}\n");
    let menu = format!("UI menu.c32\n{}{}", label("first"), label("second"));
    server.put("/menu", Answer::ok(menu));
    server.put("/own", Answer::ok(label("own")));
    let here = format!("http://{}", server.address());
    let pi3 = ["raspberrypi,3-model-b", "brcm,bcm2837"];
    let tried = |bootargs: &str| {
        let directory = directory("set", &[("own.dtb", &own_tree(bootargs, &pi3))]);
        let dtb = directory.join("own.dtb");
        let options = ["--dtb", dtb.to_str().unwrap(), "--patience", "60"];
        let (_, trace) = trace(&url(&server, "/menu"), &options);
        trace.last().unwrap().clone()
    };
    assert_eq!(tried("quiet")["event"], "fail", "a person is waited for");
    let boot = tried("bramble.menu-timeout=5");
    assert_eq!(boot["cmdline"], "entry=first", "{boot}");
    let boot = tried(&format!("bramble.menu-timeout=5 bramble.url={here}/own"));
    assert_eq!(boot["cmdline"], "entry=own", "{boot}");
}

#[test]
fn with_a_board_s_own_tree_the_desk_computes_what_the_board_does() {
    let long = "a".repeat(2000);
    let pi3 = ["raspberrypi,3-model-b", "brcm,bcm2837"];
    let pi4 = ["raspberrypi,4-model-b", "brcm,bcm2711"];
    let own = own_tree(
        &format!("coherent_pool=1M video={} root=/dev/sda", "v".repeat(100)),
        &pi3,
    );
    let menu = format!(
        "DEFAULT short\nLABEL short\nLINUX k\nAPPEND console=serial0,115200 ${{serial#}} ${{ethaddr}}\n\
         LABEL long\nLINUX k\nAPPEND {long}\nLABEL other\nLINUX k\nFDT other.dtb\nLABEL big\nLINUX k\nINITRD i\n"
    );
    let directory = directory(
        "own",
        &[
            ("menu", menu.as_bytes()),
            ("k", &image(5000)),
            ("i", &vec![0; 500 << 20]),
            ("own.dtb", &own),
            ("other.dtb", &own_tree("", &pi4)),
        ],
    );
    let dtb = directory.join("own.dtb");
    let tried = |choice: &str| {
        let file = directory.join("menu");
        let options = ["--dtb", dtb.to_str().unwrap(), "--choose", choice, "--head"];
        let (_, trace) = trace(file.to_str().unwrap(), &options);
        let notes: Vec<String> = of(&trace, "note")
            .iter()
            .map(|note| note["text"].to_string())
            .collect();
        (trace.last().unwrap().clone(), notes.join("\n"))
    };
    let (boot, _) = tried("short");
    let rest = format!(" coherent_pool=1M video={}", "v".repeat(100));
    assert_eq!(
        boot["cmdline"],
        format!("console=ttyS1,115200 00000000cafe0003 b8:27:eb:07:08:09{rest}"),
        "{boot}"
    );
    // The entry has the room, and what is left out is told.
    let (boot, notes) = tried("long");
    assert_eq!(boot["cmdline"], format!("{long} coherent_pool=1M"), "{boot}");
    assert!(notes.contains("the firmware's video=vvv"), "{notes}");
    let (boot, notes) = tried("other");
    assert_eq!(boot["event"], "boot");
    assert!(
        notes.contains(
            "is for raspberrypi,4-model-b or brcm,bcm2711, and this is raspberrypi,3-model-b or brcm,bcm2837"
        ),
        "{notes}"
    );
    // The memory is the board's.
    let (fail, _) = tried("big");
    assert_eq!(
        (&fail["event"], &fail["step"]),
        (&json!("fail"), &json!("fetch")),
        "{fail}"
    );
}
