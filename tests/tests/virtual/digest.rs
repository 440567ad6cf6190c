//! Logins over the simulated LAN: a door that wants Digest, whose keeper computes each answer for itself.

use std::cell::RefCell;
use std::rc::Rc;

use boot::fetch::{Error, Fetcher, Method, Request};
use boot::net::Net;
use boot::url::Url;
use md5::Md5;
use sha2::{Digest, Sha256};
use tests::{Dhcp, Http, Lan, Reply, leased};

const SERVER: [u8; 4] = [192, 168, 7, 2];

/// What a door wants, and how long it takes a nonce.
#[derive(Clone)]
struct Keeper {
    algorithm: &'static str,
    qop: bool,
    /// How many answers a nonce is good for.
    uses: u32,
    /// Whether it says so when a nonce is used up.
    stale: bool,
    nonce: u32,
    used: u32,
    cnonces: Vec<String>,
}

impl Keeper {
    const REALM: &str = "the \"lab\"";
    const USER: &str = "node\u{e9}";
    const PASSWORD: &str = "open: sesame";

    fn new(algorithm: &'static str) -> Self {
        Self {
            algorithm,
            qop: true,
            uses: u32::MAX,
            stale: true,
            nonce: 1,
            used: 0,
            cnonces: Vec::new(),
        }
    }

    fn hash(&self, text: &str) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.algorithm.starts_with("SHA-256") {
            hex(&Sha256::digest(text))
        } else {
            hex(&Md5::digest(text))
        }
    }

    fn refuse(&self, stale: bool) -> Reply {
        let quoted = Self::REALM.replace('"', "\\\"");
        let mut wants = format!(
            "Digest realm=\"{quoted}\", nonce=\"n{}\", opaque=\"o/=\"",
            self.nonce
        );
        if !self.algorithm.is_empty() {
            wants += &format!(", algorithm={}", self.algorithm);
        }
        if self.qop {
            wants += ", qop=\"auth,auth-int\"";
        }
        if stale {
            wants += ", stale=true";
        }
        Reply::status("401 Unauthorized", "who?")
            .header("WWW-Authenticate: Basic realm=\"weak\"")
            .header(&format!("WWW-Authenticate: {wants}"))
    }

    /// Lets a request pass, or says what it lacks.
    fn ask(&mut self, head: &str) -> Option<Reply> {
        let Some(answer) = head.lines().find_map(|line| line.strip_prefix("Authorization: ")) else {
            return Some(self.refuse(false));
        };
        let answer = answer.strip_prefix("Digest ").expect("nothing weaker");
        let value = |name: &str| {
            let (_, rest) = format!(", {answer}")
                .split_once(&format!(", {name}="))
                .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
            Some(match rest.strip_prefix('"') {
                Some(quoted) => {
                    let meant = quoted.replace("\\\"", "\u{1}");
                    meant.split('"').next().unwrap_or_default().replace('\u{1}', "\"")
                }
                None => rest.split(',').next().unwrap_or_default().to_owned(),
            })
        };
        let mut first = head.split(' ');
        let (method, target) = (first.next().unwrap(), first.next().unwrap());
        assert_eq!(value("username").as_deref(), Some(Self::USER));
        assert_eq!(value("realm").as_deref(), Some(Self::REALM));
        assert_eq!(value("opaque").as_deref(), Some("o/="));
        assert_eq!(value("uri").as_deref(), Some(target));
        assert_eq!(value("algorithm").unwrap_or_default(), self.algorithm);
        let nonce = value("nonce").unwrap();
        if nonce != format!("n{}", self.nonce) || self.used >= self.uses {
            (self.nonce, self.used) = (self.nonce + 1, 0);
            return Some(self.refuse(self.stale));
        }
        self.used += 1;
        let mut secret = self.hash(&format!("{}:{}:{}", Self::USER, Self::REALM, Self::PASSWORD));
        if self.algorithm.ends_with("-sess") {
            secret = self.hash(&format!("{secret}:{nonce}:{}", value("cnonce").unwrap()));
        }
        let asked = self.hash(&format!("{method}:{target}"));
        let right = if self.qop {
            assert_eq!(value("qop").as_deref(), Some("auth"));
            let (count, cnonce) = (value("nc").unwrap(), value("cnonce").unwrap());
            assert_eq!(count, format!("{:08x}", self.used));
            let right = self.hash(&format!("{secret}:{nonce}:{count}:{cnonce}:auth:{asked}"));
            self.cnonces.push(cnonce);
            right
        } else {
            assert_eq!((value("qop"), value("nc")), (None, None));
            self.hash(&format!("{secret}:{nonce}:{asked}"))
        };
        (value("response") != Some(right)).then(|| self.refuse(false))
    }
}

/// A LAN with a DHCP server and a web server with a door.
struct Site {
    lan: Lan,
    http: Rc<RefCell<Http>>,
    keeper: Rc<RefCell<Keeper>>,
}

impl Site {
    fn new(seed: u64, keeper: Keeper) -> Self {
        let lan = Lan::new(seed);
        lan.serve([192, 168, 7, 1], Dhcp::new());
        let http = lan.attach(Http::new(SERVER));
        let keeper = Rc::new(RefCell::new(keeper));
        let door = Rc::clone(&keeper);
        http.borrow_mut().guard = Some(Box::new(move |head| door.borrow_mut().ask(head)));
        Self { lan, http, keeper }
    }

    fn route(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.http.borrow_mut().route(path, replies);
    }

    fn node<T>(&self, session: impl FnOnce(&mut Net<'_>, &mut Fetcher) -> T) -> T {
        leased(&self.lan, session)
    }
}

/// `path` with the right user and this password.
fn url(password: &str, path: &str) -> Url {
    Url::parse(&format!("http://node%C3%A9:{password}@192.168.7.2{path}")).expect("a URL")
}

const RIGHT: &str = "open%3A%20sesame";

fn get(net: &mut Net<'_>, fetcher: &mut Fetcher, url: &Url) -> Result<Vec<u8>, Error> {
    let mut memory = vec![0; 4000];
    let response = fetcher.get(net, url, &mut memory, &mut ())?;
    memory.truncate(response.len);
    Ok(memory)
}

fn nothing_told() {
    let told = |line: &str| {
        ["sesame", "node\u{e9}", "%C3%A9"]
            .iter()
            .any(|secret| line.contains(secret))
    };
    assert!(tests::lines().iter().all(|line| !told(&line.text)));
}

#[test]
fn every_algorithm_opens_and_is_remembered() {
    for (seed, algorithm, qop) in [
        (1, "MD5", true),
        (2, "SHA-256", true),
        (3, "MD5-sess", true),
        (4, "SHA-256-sess", true),
        (5, "", true),
        (6, "", false),
        (7, "SHA-256", false),
    ] {
        let site = Site::new(
            seed,
            Keeper {
                qop,
                ..Keeper::new(algorithm)
            },
        );
        site.route("/menu?mac=b8%3A27", [Reply::ok("menu")]);
        site.route("/kernel", [Reply::ok("kernel")]);
        site.node(|net, fetcher| {
            let menu = get(net, fetcher, &url(RIGHT, "/menu?mac=b8%3A27"));
            assert_eq!(menu, Ok(b"menu".to_vec()), "{algorithm}");
            assert_eq!(fetcher.look(net, &url(RIGHT, "/kernel"), &mut ()), Ok(Some(6)));
            assert_eq!(get(net, fetcher, &url(RIGHT, "/kernel")), Ok(b"kernel".to_vec()));
        });
        // One of them to hear what is wanted, over one connection.
        assert_eq!(
            site.http.borrow().requests(),
            [
                "GET /menu?mac=b8%3A27",
                "GET /menu?mac=b8%3A27",
                "HEAD /kernel",
                "GET /kernel"
            ]
        );
        assert_eq!(site.lan.connections(), 1);
        // The session's; another node has another.
        let cnonces = site.keeper.borrow().cnonces.clone();
        assert!(cnonces.iter().all(|one| one.len() == 16 && *one == cnonces[0]));
        nothing_told();
    }
}

#[test]
fn a_wrong_password_is_one_line_and_two_requests() {
    let site = Site::new(8, Keeper::new("SHA-256"));
    site.route("/menu", [Reply::ok("menu")]);
    let wrong = url("open%20sesame", "/menu");
    let error = site.node(|net, fetcher| get(net, fetcher, &wrong).unwrap_err());
    assert_eq!(
        error.to_string(),
        "fetch: GET http://***@192.168.7.2/menu: 401 Unauthorized: the user or the password in the URL is not the \
         right one (Basic, Digest, realm \"weak\")"
    );
    assert_eq!(site.http.borrow().requests().len(), 2);
    // A line break in the name, which no answer can carry, and nobody at all.
    for (text, line, requests) in [
        ("http://a%0D%0AX:b@192.168.7.2/menu", "is not the right one", 2),
        ("http://192.168.7.2/menu", "are missing", 1),
    ] {
        site.http.borrow_mut().log.clear();
        let url = Url::parse(text).expect("a URL");
        let error = site.node(|net, fetcher| get(net, fetcher, &url).unwrap_err());
        assert!(error.to_string().contains(line), "{error}");
        let http = site.http.borrow();
        assert_eq!(http.log.len(), requests, "{text}");
        assert!(
            http.log
                .iter()
                .all(|request| !request.head.contains("Authorization"))
        );
    }
    nothing_told();
}

#[test]
fn nonces_that_are_used_up() {
    // Whether the server says so or not: what it asked for before may be out of date.
    for (seed, stale) in [(9, true), (10, false)] {
        let keeper = Keeper {
            uses: 1,
            stale,
            ..Keeper::new("MD5")
        };
        let site = Site::new(seed, keeper);
        site.route("/a", [Reply::ok("a")]);
        site.node(|net, fetcher| {
            for _ in 0..3 {
                assert_eq!(get(net, fetcher, &url(RIGHT, "/a")), Ok(b"a".to_vec()));
            }
        });
        assert_eq!(site.http.borrow().log.len(), 2 + 2 + 2);
    }
    // Not even one answer: asked once more than else, and not for ever.
    let site = Site::new(
        11,
        Keeper {
            uses: 0,
            ..Keeper::new("MD5")
        },
    );
    site.route("/a", [Reply::ok("a")]);
    let error = site.node(|net, fetcher| get(net, fetcher, &url(RIGHT, "/a")).unwrap_err());
    assert!(
        error
            .to_string()
            .contains("the server calls each of its nonces stale"),
        "{error}"
    );
    assert_eq!(site.http.borrow().log.len(), 3);
}

#[test]
fn forms_redirects_and_the_rest_of_a_file() {
    let site = Site::new(
        12,
        Keeper {
            uses: 3,
            ..Keeper::new("SHA-256")
        },
    );
    let file = Reply::ok(vec![7; 3000]).ranges();
    site.route("/register", [Reply::redirect(303, "/file")]);
    site.route(
        "/file",
        [file.clone().truncated(1000), file.clone().reset(500), file],
    );
    let url = url(RIGHT, "/register");
    let mut memory = [0; 4000];
    let len = site.node(|net, fetcher| {
        let request = Request {
            method: Method::Post,
            form: Some("mac=b8"),
            ..Request::get(&url)
        };
        let response = fetcher.send(net, &request, &mut memory, &mut ());
        response.expect("a file").len
    });
    assert_eq!(&memory[..len], [7; 3000]);
    let http = site.http.borrow();
    assert_eq!(
        http.requests(),
        [
            "POST /register",
            "POST /register",
            "GET /file",
            "GET /file",
            "GET /file",
            "GET /file"
        ]
    );
    assert!(http.log[..2].iter().all(|request| request.body == "mac=b8"));
    assert!(
        http.log[3].head.contains("Range: bytes=1000-"),
        "the third answer to one nonce"
    );
    assert!(
        http.log[5].head.contains("Range: bytes=1500-"),
        "and with the next"
    );
}

/// What is for one host, and for one user, is for no other.
#[test]
fn another_host_is_told_nothing() {
    let site = Site::new(13, Keeper::new("MD5"));
    let other = site.lan.attach(Http::new([192, 168, 7, 9]));
    let locked = Reply::status("401 Unauthorized", "").header("WWW-Authenticate: Basic realm=x");
    other.borrow_mut().route("/b", [locked.clone()]);
    site.route("/a", [Reply::redirect(302, "http://192.168.7.9/b")]);
    let error = site.node(|net, fetcher| get(net, fetcher, &url(RIGHT, "/a")).unwrap_err());
    assert!(error.to_string().contains("are missing"), "{error}");
    assert_eq!(other.borrow().log.len(), 1);
    assert!(!other.borrow().log[0].head.contains("Authorization"));
    // Basic for one place and user of a server is not sent for another.
    let http = &other;
    http.borrow_mut().route("/b", [locked, Reply::ok("b")]);
    let at = |user: &str, path: &str| Url::parse(&format!("http://{user}@192.168.7.9{path}")).expect("a URL");
    http.borrow_mut().route("/c", [Reply::ok("c")]);
    site.node(|net, fetcher| {
        assert_eq!(get(net, fetcher, &at("one:1", "/b")), Ok(b"b".to_vec()));
        assert_eq!(get(net, fetcher, &at("two:2", "/c")), Ok(b"c".to_vec()));
        assert_eq!(get(net, fetcher, &at("one:1", "/c")), Ok(b"c".to_vec()));
        fetcher.close(net);
        assert_eq!(get(net, fetcher, &at("one:1", "/c")), Ok(b"c".to_vec()));
    });
    let http = http.borrow();
    let told = |request: &tests::Request| request.head.contains("Authorization: Basic b25lOjE=");
    let told: Vec<bool> = http.log[1..].iter().map(told).collect();
    assert_eq!(told, [false, true, false, true, false]);
}

/// A server that wants a password and does not say how gets it as before there was a choice.
#[test]
fn a_401_without_a_word() {
    let site = Site::new(14, Keeper::new("MD5"));
    site.http.borrow_mut().guard = None;
    site.route("/a", [Reply::status("401 Unauthorized", ""), Reply::ok("a")]);
    let result = site.node(|net, fetcher| get(net, fetcher, &url(RIGHT, "/a")));
    assert_eq!(result, Ok(b"a".to_vec()));
    assert!(site.http.borrow().log[1].head.contains("Authorization: Basic "));
}
