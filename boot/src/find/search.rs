//! The search: place after place is asked for a text, and what each answer leads to (D-177).

use alloc::boxed::Box;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::places::{By, Place};
use crate::fetch::Get;
use crate::menu::{self, Error, Fault, Menu};
use crate::script::{Script, line::MAX_SCRIPT};
use crate::url::{self, Scheme, Url};
use crate::verify::{self, Language, Unreadable};

/// Bytes of a script or a menu.
pub(super) const MAX_TEXT: usize = if MAX_SCRIPT > menu::MAX_TEXT {
    MAX_SCRIPT
} else {
    menu::MAX_TEXT
};

/// A text that was found.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// A menu.
    Menu(Box<Menu>),
    /// A script for iPXE, not yet run.
    Script(Script),
}

/// The outcome of asking for one name (D-24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The server says that there is no such file: 404, 410, TFTP's "file not found".
    Absent,
    /// 403 or TFTP's "access violation". Some servers say that of files that are not there, others of those that are.
    Forbidden,
    /// No server answers, or its name has no address.
    Nobody,
    /// The server has other business than boot files: it wants a login, sends to HTTPS, or answers with a page.
    Foreign,
    /// Anything else: the file may well be there, and this node's.
    Trouble,
    /// A URL that cannot be fetched.
    Unusable,
}

/// The answers so far in the same search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Answers {
    /// Another name in this place was absent.
    absence: bool,
    /// Another name in this place was forbidden.
    refusal: bool,
    /// Anything at all from this server by this protocol.
    server: bool,
    /// Anything of use from the web server of the same host.
    web: bool,
    /// That no other place is left, on this server or another.
    last: bool,
}

/// The next step of the search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// With the next name.
    Name,
    /// With the next server: this one has nothing to say by this protocol.
    Server,
    /// Nowhere: this failure ends it.
    Fail,
    /// Nowhere: the refusal heard before was one, for what is absent here is said to be absent.
    Refused,
}

/// The table of the search: what each outcome leads to. `docs/src/servers.md` has it in prose (D-102).
///
/// The names that follow are more general, and the next servers hold other nodes' menus too; so they are asked only when
/// this one is known to have nothing for this node (D-142).
const fn next(by: By, named: bool, outcome: Outcome, heard: Answers) -> Next {
    match (outcome, by) {
        (Outcome::Absent, _) if heard.refusal => Next::Refused,
        (Outcome::Absent, _) => Next::Name,
        // The web server is a guess. Before it has said a word about boot files its refusals mean none either; TFTP is
        // what a path in DHCP stands for, and is asked for the same names.
        // One that has said a word and is gone now, in a restart for example, may have had this node's menu.
        (Outcome::Nobody, By::Guess) if !heard.server => Next::Server,
        (Outcome::Forbidden | Outcome::Foreign, By::Guess) if !heard.server => Next::Server,
        (Outcome::Forbidden, By::Guess) => Next::Fail,
        // As long as it says so of everything it is a store that does not tell what it has.
        (Outcome::Forbidden, _) if named || heard.absence => Next::Fail,
        (Outcome::Forbidden, _) => Next::Name,
        // A site without TFTP, unless the host is not there at all: what is absent on its web server is told. With a place left
        // it may as well be a TFTP server that is restarted, and has this node's menu.
        (Outcome::Nobody, By::Tftp) if heard.web && heard.last => Next::Server,
        (Outcome::Unusable, _) if !named => Next::Name,
        (Outcome::Nobody | Outcome::Foreign | Outcome::Trouble | Outcome::Unusable, _) => Next::Fail,
    }
}

impl Outcome {
    fn of(fault: &Fault) -> Self {
        match fault {
            Fault::Fetch(error) if error.is_forbidden() => Self::Forbidden,
            Fault::Fetch(error) if error.is_absent() => Self::Absent,
            Fault::Fetch(error) if error.is_unreachable() => Self::Nobody,
            Fault::Fetch(error) if error.is_foreign() => Self::Foreign,
            Fault::Unreadable(_, Unreadable::Html) => Self::Foreign,
            Fault::Url(_) => Self::Unusable,
            Fault::Fetch(_)
            | Fault::Unreadable(..)
            | Fault::NotShown(..)
            | Fault::NoEntries(_)
            | Fault::Bound(..) => Self::Trouble,
        }
    }
}

/// The first menu in `places`; `named` as [`is_named`](super::places::is_named) says.
///
/// An absent file leads to the next name and the next place, trouble ends the search: see [`next`]. Of a server that
/// nobody answers for, nothing else is asked by the same protocol (D-66).
pub(super) fn first(
    places: &[Place],
    named: bool,
    scratch: &mut [u8],
    get: &mut Get<'_>,
) -> Result<Found, Error> {
    let mut search = Search::default();
    for (at, place) in places.iter().enumerate() {
        let behind = places.get(at.saturating_add(1)..).unwrap_or_default();
        let mut heard = Answers::default();
        let mut refusal: Option<Fault> = None;
        for (index, url) in place.urls.iter().enumerate() {
            if let Ok(url) = url {
                if among(&search.skipped, url) {
                    break;
                }
                search.tried.push(url);
                search.knows(url, behind, &mut heard);
            }
            let fault = match menu_at(url, place.base.as_ref(), scratch, get) {
                Ok(found) => {
                    // Why the menu is not from where it should be.
                    if let Some(fault) = search.missed {
                        warn!("menu: {}", fault);
                    }
                    tell(&found, place.source);
                    return Ok(found);
                }
                Err(fault) => fault,
            };
            let outcome = Outcome::of(&fault);
            let next = next(place.by, place.named, outcome, heard);
            if let (Next::Name | Next::Fail, Ok(url)) = (next, url) {
                search.answered.push(url);
            }
            heard.absence |= outcome == Outcome::Absent;
            heard.refusal |= outcome == Outcome::Forbidden;
            match next {
                Next::Name if place.named => {
                    search.missed.get_or_insert(fault);
                }
                Next::Name => {
                    if outcome == Outcome::Forbidden {
                        refusal.get_or_insert_with(|| fault.clone());
                    }
                    search.absence = Some(fault);
                }
                Next::Server => {
                    info!("menu: {}", fault);
                    search.silence.get_or_insert(fault);
                    search.skipped.extend(url);
                    break;
                }
                Next::Fail | Next::Refused => {
                    let is_last = index.saturating_add(1) == place.urls.len() && behind.is_empty();
                    let fault = match next {
                        Next::Refused => refusal.unwrap_or(fault),
                        // Neither protocol got an answer; the web server was asked first, so its fault is reported.
                        _ if outcome == Outcome::Nobody => {
                            let first = search.silence.filter(|_| place.by == By::Tftp);
                            first.unwrap_or(fault)
                        }
                        _ => fault,
                    };
                    return Err(Error::Trouble {
                        named,
                        more: !is_last,
                        fault: Box::new(fault),
                    });
                }
            }
        }
    }
    Err(search.in_vain(named))
}

/// What has come of a search so far.
#[derive(Default)]
struct Search<'p> {
    tried: Vec<&'p Url>,
    /// Why the named file is not there. It is reported when nothing is found anywhere …
    missed: Option<Fault>,
    /// … else why the last name is not …
    absence: Option<Fault>,
    /// … else why nobody answered.
    silence: Option<Fault>,
    /// Where somebody answered.
    answered: Vec<&'p Url>,
    /// Where nobody did, and nobody is asked again.
    skipped: Vec<&'p Url>,
}

impl Search<'_> {
    /// Notes what is known of the server of `url` before it is asked, with these places left behind it.
    fn knows(&self, url: &Url, behind: &[Place], heard: &mut Answers) {
        let mut others = behind.iter().flat_map(|place| place.urls.iter().flatten());
        heard.last = !others.any(|other| !among(&self.skipped, other) && !other.same_origin(url));
        heard.server = among(&self.answered, url);
        let mut answered = self.answered.iter();
        heard.web = answered.any(|web| web.scheme() == Scheme::Http && web.host() == url.host());
    }

    /// Why nothing was found.
    fn in_vain(self, named: bool) -> Error {
        let url = |url: Option<&&Url>| url.map(|url| url.to_string()).unwrap_or_default();
        match self.missed.or(self.absence).or(self.silence) {
            None => Error::NoSource,
            Some(fault) => Error::NotFound {
                named,
                tried: self.tried.len(),
                first: url(self.tried.first()),
                last: url(self.tried.last()),
                fault: Box::new(fault),
            },
        }
    }
}

/// Whether one of these URLs leads to the server of `url`.
fn among(urls: &[&Url], url: &Url) -> bool {
    urls.iter().any(|other| other.same_origin(url))
}

/// Logs what was found, and what named it.
fn tell(found: &Found, source: &str) {
    match found {
        Found::Menu(menu) => {
            let entries = menu.entries.len();
            info!("menu: {} entries from {} ({})", entries, menu.url, source);
        }
        Found::Script(script) => {
            info!("menu: a script from {} ({})", script.url, source);
        }
    }
}

fn menu_at(
    url: &Result<Url, url::Error>,
    base: Option<&Url>,
    scratch: &mut [u8],
    get: &mut Get<'_>,
) -> Result<Found, Fault> {
    let url = url.as_ref().map_err(|error| Fault::Url(error.clone()))?;
    let room = scratch.len().min(MAX_TEXT);
    let window = scratch.get_mut(..room).unwrap_or_default();
    let response = get(url, window).map_err(Fault::Fetch)?;
    let text =
        verify::text(&response, scratch).map_err(|why| Fault::Unreadable(response.url.clone(), why))?;
    match text.language() {
        Language::Script => Ok(Found::Script(Script {
            text: scratch.get(..text.len()).unwrap_or_default().to_vec(),
            url: response.url,
        })),
        Language::Menu => menu::parse(&text, base, scratch, get).map(|menu| Found::Menu(Box::new(menu))),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use smoltcp::wire::Ipv4Address;

    use super::super::boot_file::tests::dhcp;
    use super::super::places::{is_named, places};
    use super::*;
    use crate::fetch;
    use crate::hal::tests::board;
    use crate::lease::tests::lease;
    use crate::lease::{Lease, hardware_address};
    use crate::settings::Settings;

    fn failed(url: &Url, code: u16) -> fetch::Error {
        fetch::Error {
            url: url.clone(),
            method: fetch::Method::Get,
            reason: fetch::Reason::Status {
                code,
                phrase: "Phrase".into(),
            },
        }
    }

    const BYS: [By; 3] = [By::Url, By::Guess, By::Tftp];
    const OUTCOMES: [Outcome; 6] = [
        Outcome::Absent,
        Outcome::Forbidden,
        Outcome::Nobody,
        Outcome::Foreign,
        Outcome::Trouble,
        Outcome::Unusable,
    ];

    /// Every state that [`next`] can be asked about.
    fn states() -> impl Iterator<Item = (By, bool, Outcome, Answers)> {
        BYS.into_iter().flat_map(|by| {
            OUTCOMES.into_iter().flat_map(move |outcome| {
                (0..64_u8).map(move |bits| {
                    let bit = |n: u8| bits >> n & 1 == 1;
                    let heard = Answers {
                        absence: bit(0),
                        refusal: bit(1),
                        server: bit(2),
                        web: bit(3),
                        last: bit(5),
                    };
                    (by, bit(4), outcome, heard)
                })
            })
        })
    }

    #[test]
    fn the_search_goes_on_for_these_reasons_and_no_other() {
        for (by, named, outcome, heard) in states() {
            let expected = match next(by, named, outcome, heard) {
                Next::Fail | Next::Refused => continue,
                on => on,
            };
            let reasons = [
                // The server says that there is none, and does not say "forbidden" where it means that.
                (Next::Name, outcome == Outcome::Absent && !heard.refusal),
                // It says "forbidden" of everything that a search asks for.
                (
                    Next::Name,
                    outcome == Outcome::Forbidden && !named && !heard.absence && by != By::Guess,
                ),
                // A directory of programs for others, in a scheme that is not spoken here.
                (Next::Name, outcome == Outcome::Unusable && !named),
                // No web server, or one that knows nothing of boot files: it was a guess.
                (
                    Next::Server,
                    by == By::Guess
                        && !heard.server
                        && matches!(outcome, Outcome::Nobody | Outcome::Forbidden | Outcome::Foreign),
                ),
                // A web server that has answered, and no TFTP server beside it; nothing is asked any more.
                (
                    Next::Server,
                    by == By::Tftp && outcome == Outcome::Nobody && heard.web && heard.last,
                ),
            ];
            let state = (by, named, outcome, heard);
            assert_eq!(
                reasons
                    .iter()
                    .filter(|(next, holds)| *holds && *next == expected)
                    .count(),
                1,
                "{state:?} leads to {expected:?}"
            );
        }
    }

    #[test]
    fn trouble_never_leads_anywhere_and_what_a_url_names_is_not_replaced() {
        for (by, named, outcome, heard) in states() {
            let next = next(by, named, outcome, heard);
            let state = (by, named, outcome, heard);
            if outcome == Outcome::Trouble || (by == By::Url && named && outcome != Outcome::Absent) {
                assert_eq!(next, Next::Fail, "{state:?}");
            }
            if next == Next::Refused {
                assert!(heard.refusal && outcome == Outcome::Absent, "{state:?}");
            }
        }
    }

    fn fetch_error(url: &Url, reason: fetch::Reason) -> fetch::Error {
        let method = fetch::Method::Get;
        fetch::Error {
            url: url.clone(),
            method,
            reason,
        }
    }

    #[test]
    fn each_failure_has_its_kind() {
        use fetch::{ConnectError, Lost, Reason, TftpError};
        let url = Url::parse("http://a/").unwrap();
        let status = |code| Reason::Status {
            code,
            phrase: String::new(),
        };
        let tftp = |code| {
            Reason::Tftp(TftpError::Server {
                code,
                text: String::new(),
            })
        };
        let here = Ipv4Address::new(192, 0, 2, 2);
        let cut = Reason::Interrupted {
            how: Lost::Closed,
            got: 1,
            of: Some(2),
        };
        let large = Reason::TooLarge { len: None, space: 1 };
        let cases = [
            (status(404), Outcome::Absent),
            (status(410), Outcome::Absent),
            (tftp(1), Outcome::Absent),
            (status(403), Outcome::Forbidden),
            (tftp(2), Outcome::Forbidden),
            (Reason::Connect(here, ConnectError::Refused), Outcome::Nobody),
            (
                Reason::Resolve(crate::resolve::Error::NotFound("h".into())),
                Outcome::Nobody,
            ),
            (Reason::Tftp(TftpError::Refused), Outcome::Nobody),
            (Reason::Tftp(TftpError::NoAnswer), Outcome::Nobody),
            (status(401), Outcome::Foreign),
            (
                Reason::Redirect(Url::parse("https://a/").unwrap_err()),
                Outcome::Foreign,
            ),
            (status(408), Outcome::Trouble),
            (status(429), Outcome::Trouble),
            (status(500), Outcome::Trouble),
            (status(503), Outcome::Trouble),
            (tftp(0), Outcome::Trouble),
            (tftp(3), Outcome::Trouble),
            (Reason::NoAnswer(Lost::Stalled), Outcome::Trouble),
            (Reason::RedirectLoop, Outcome::Trouble),
            (Reason::TooManyRedirects, Outcome::Trouble),
            (Reason::NoLocation, Outcome::Trouble),
            (large, Outcome::Trouble),
            (cut, Outcome::Trouble),
        ];
        for (reason, outcome) in cases {
            let fault = Fault::Fetch(fetch_error(&url, reason));
            assert_eq!(Outcome::of(&fault), outcome, "{fault}");
        }
        for (content, outcome) in [
            (Unreadable::Html, Outcome::Foreign),
            (Unreadable::Empty, Outcome::Trouble),
            (Unreadable::Binary, Outcome::Trouble),
            (Unreadable::Gzip, Outcome::Trouble),
            (Unreadable::IpxeScript, Outcome::Trouble),
        ] {
            assert_eq!(Outcome::of(&Fault::Unreadable(url.clone(), content)), outcome);
        }
        assert_eq!(Outcome::of(&Fault::NoEntries(url)), Outcome::Trouble);
    }

    /// What a name is answered with where this is told by a function.
    enum Says {
        Status(u16),
        Nothing,
        Text(&'static str),
    }

    /// Looks for a menu; also returns what was asked for.
    fn search(lease: &Lease, says: impl Fn(&str) -> Says) -> (Result<Found, Error>, Vec<String>) {
        let settings = Settings::default();
        let mut asked = Vec::new();
        let places = places(&settings, lease, &board());
        let named = is_named(&settings, lease);
        let found = first(&places, named, &mut [0; 4096], &mut |url, into| {
            let name = url.to_string();
            asked.push(name.clone());
            let address = Ipv4Address::new(192, 0, 2, 2);
            match says(&name) {
                Says::Status(code) => Err(failed(url, code)),
                Says::Nothing => Err(fetch_error(
                    url,
                    match url.scheme() {
                        Scheme::Http => fetch::Reason::Connect(address, fetch::ConnectError::Refused),
                        Scheme::Tftp => fetch::Reason::Tftp(fetch::TftpError::NoAnswer),
                    },
                )),
                Says::Text(text) => {
                    into[..text.len()].copy_from_slice(text.as_bytes());
                    Ok(crate::fetch::Response {
                        url: url.clone(),
                        len: text.len(),
                    })
                }
            }
        });
        (found, asked)
    }

    /// Looks for a menu where only some origins answer, and those with 404.
    fn knock(lease: &Lease, alive: &[&str]) -> (String, Vec<String>) {
        let (found, asked) = search(lease, |name| {
            match alive.iter().any(|origin| name.starts_with(origin)) {
                true => Says::Status(404),
                false => Says::Nothing,
            }
        });
        (found.unwrap_err().to_string(), asked)
    }

    #[test]
    fn a_dead_port_is_knocked_on_once() {
        let lease = dhcp("pi/menu.cfg", "", "", true);
        let (line, asked) = knock(&lease, &["tftp://"]);
        assert_eq!(asked.len(), 1 + 1 + 30, "{asked:?}");
        assert!(
            line.ends_with("fetch: GET tftp://192.0.2.2/pi/menu.cfg: 404 Phrase"),
            "{line}"
        );
        // Nobody by TFTP, which a path stands for: only the last place of all is given up without a word.
        let (line, asked) = knock(&lease, &["http://"]);
        assert_eq!(
            asked,
            ["http://192.0.2.2/pi/menu.cfg", "tftp://192.0.2.2/pi/menu.cfg"]
        );
        assert!(
            line.contains("fetch: GET tftp://192.0.2.2/pi/menu.cfg: no answer within 10 s"),
            "{line}"
        );
        let (line, asked) = knock(&dhcp("pxelinux.0", "", "", true), &["http://"]);
        assert_eq!(asked.len(), 15 + 1, "{asked:?}");
        assert!(
            line.ends_with("fetch: GET http://192.0.2.2/pxelinux.cfg/default: 404 Phrase"),
            "{line}"
        );
        let (line, asked) = knock(&lease, &[]);
        assert_eq!(
            asked,
            ["http://192.0.2.2/pi/menu.cfg", "tftp://192.0.2.2/pi/menu.cfg"]
        );
        assert!(line.contains("menu.cfg: 192.0.2.2: connection refused"), "{line}");
        // What DHCP itself says is no guess.
        let (line, asked) = knock(&dhcp("http://a/menu", "", "", true), &["tftp://", "http://192"]);
        assert_eq!(asked, ["http://a/menu"]);
        assert!(
            line.contains("fetch: GET http://a/menu: 192.0.2.2: connection refused"),
            "{line}"
        );
    }

    const WIPE: &str = "DEFAULT wipe\nLABEL wipe\nLINUX wipe\n";

    #[test]
    fn no_trouble_with_what_dhcp_names_lets_the_default_beside_it_boot() {
        for (lease, named) in [
            (
                dhcp("http://a/boot.ipxe?mac=1", "", "", true),
                "http://a/boot.ipxe?mac=1",
            ),
            (dhcp("", "http://b/pi.cfg", "http://a/", true), "http://b/pi.cfg"),
            (dhcp("", "pi.cfg", "http://a/", true), "http://a/pi.cfg"),
            (
                dhcp("node/menu.cfg", "", "", true),
                "tftp://192.0.2.2/node/menu.cfg",
            ),
        ] {
            for code in [400, 401, 403, 429, 500, 502, 503] {
                let (found, asked) = search(&lease, |name| match name {
                    name if name == named => Says::Status(code),
                    name if name.ends_with("/default") => Says::Text(WIPE),
                    _ => Says::Status(404),
                });
                assert_eq!(asked.last().map(String::as_str), Some(named));
                assert_eq!(
                    found.unwrap_err().to_string(),
                    format!("menu: fetch: GET {named}: {code} Phrase; nothing else is booted in its stead")
                );
            }
            for text in ["", "<html>", "#!ipxe", "\0", "hello"] {
                let (found, _) = search(&lease, |name| match name {
                    name if name == named => Says::Text(text),
                    name if name.ends_with("/default") => Says::Text(WIPE),
                    _ => Says::Status(404),
                });
                let line = found.unwrap_err().to_string();
                assert!(line.starts_with(&format!("menu: {named}: ")), "{line}");
            }
            // Absent it is searched for, as PXELINUX does with option 209.
            let (found, _) = search(&lease, |name| match name.ends_with("/default") {
                true => Says::Text(WIPE),
                false => Says::Status(404),
            });
            assert!(found.is_ok());
        }
    }

    #[test]
    fn a_server_that_goes_away_or_is_silent_lets_no_default_boot() {
        let default = |name: &str| name.ends_with("/default");
        // The web server is gone when the node's own name is asked for; TFTP has a menu for everybody.
        let own = hardware_address(&board());
        for name in ["autoexec.ipxe", &own] {
            let from = |asked: &str| asked.starts_with("http:") && asked.ends_with(name);
            let gone = std::cell::Cell::new(false);
            let (found, asked) = search(&dhcp("pxelinux.0", "", "", true), |asked| {
                gone.set(gone.get() || from(asked));
                match asked {
                    asked if asked.starts_with("http:") && gone.get() => Says::Nothing,
                    asked if default(asked) => Says::Text(WIPE),
                    _ => Says::Status(404),
                }
            });
            // From the first on it is a site without a web server.
            assert_eq!(found.is_ok(), name == "autoexec.ipxe", "{asked:?}");
        }
        // TFTP is silent below the directory that DHCP names; the web server's root has a menu for everybody.
        for lease in [dhcp("pxe/pxelinux.0", "", "", true), dhcp("", "", "pxe/", true)] {
            let (found, asked) = search(&lease, |name| match name {
                "http://192.0.2.2/pxelinux.cfg/default" => Says::Text(WIPE),
                name if name.starts_with("tftp:") => Says::Nothing,
                _ => Says::Status(404),
            });
            let line = found.unwrap_err().to_string();
            assert_eq!(asked.len(), 15 + 1, "{asked:?}");
            assert!(
                line.contains("GET tftp://192.0.2.2/pxe/autoexec.ipxe: no answer within 10 s"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_url_that_cannot_be_fetched_is_not_replaced() {
        for lease in [
            dhcp("https://a/menu", "", "", true),
            dhcp("", "https://a/menu", "", true),
            dhcp("", "", "https://a/", true),
        ] {
            let (found, asked) = search(&lease, |_| Says::Text(WIPE));
            let line = found.unwrap_err().to_string();
            assert!(line.contains("scheme not supported"), "{line}");
            assert_eq!(asked, [""; 0]);
        }
        // Where a program for others lies is no place that anybody named.
        let lease = dhcp("https://a/snp.efi", "", "", true);
        assert_eq!(base(search(&lease, |_| Says::Text(WIPE)).0), "http://192.0.2.2/");
    }

    #[test]
    fn forbidden_is_absent_only_where_everything_is() {
        let own = "http://a/pxelinux.cfg/01-dc-a6-32-ec-fc-3c";
        let lease = dhcp("", "", "http://a/", false);
        // A store that does not tell what it has.
        let (found, asked) = search(&lease, |name| match name.ends_with("/default") {
            true => Says::Text(WIPE),
            false => Says::Status(403),
        });
        assert_eq!((base(found).as_str(), asked.len()), ("http://a/", 15));
        // A file that nobody may read, on a server that says 404 of what it does not have.
        for (forbidden, asks) in [(own, 3), ("http://a/autoexec.ipxe", 2)] {
            let (found, asked) = search(&lease, |name| match name {
                name if name == forbidden => Says::Status(403),
                name if name.ends_with("/default") => Says::Text(WIPE),
                _ => Says::Status(404),
            });
            assert_eq!(asked.len(), asks, "{forbidden}");
            assert_eq!(
                found.unwrap_err().to_string(),
                format!("menu: fetch: GET {forbidden}: 403 Phrase; nothing else is booted in its stead")
            );
        }
    }

    #[test]
    fn a_web_server_with_other_business_leaves_it_to_tftp() {
        let lease = dhcp("pxelinux.0", "", "", true);
        let says = |answer: fn() -> Says| {
            move |name: &str| match name {
                name if name.starts_with("http") => answer(),
                name if name.ends_with("/default") => Says::Text(WIPE),
                _ => Says::Status(404),
            }
        };
        for answer in [
            || Says::Status(401),
            || Says::Status(403),
            || Says::Text("<html>Router</html>"),
            || Says::Nothing,
        ] {
            let (found, asked) = search(&lease, says(answer));
            assert_eq!((base(found).as_str(), asked.len()), ("tftp://192.0.2.2/", 1 + 15));
        }
        // One that is out of order may be the one that has this node's menu.
        let (found, asked) = search(&lease, says(|| Says::Status(503)));
        assert!(found.is_err());
        assert_eq!(asked.len(), 1);
        // So may one that has said of a file that it is not there.
        for answer in [|| Says::Status(401), || Says::Text("<html>Log in</html>")] {
            let (found, asked) = search(&lease, |name| match name {
                name if name.starts_with("tftp") => Says::Text(WIPE),
                name if name.ends_with("autoexec.ipxe") => Says::Status(404),
                _ => answer(),
            });
            assert!(found.is_err());
            assert_eq!(asked.len(), 2);
        }
    }

    #[test]
    fn a_router_that_names_nothing_is_told_of_as_such() {
        let lease = dhcp("", "", "", true);
        for (alive, asks) in [(&["http://", "tftp://"][..], 30), (&["tftp://"], 16), (&[], 2)] {
            let (line, asked) = knock(&lease, alive);
            assert!(line.starts_with("menu: DHCP named nothing to boot"), "{line}");
            assert!(!line.contains("places"), "{line}");
            assert_eq!(asked.len(), asks);
        }
        assert!(
            Error::NoSource
                .to_string()
                .starts_with("menu: DHCP named nothing to boot")
        );
    }

    fn base(found: Result<Found, Error>) -> String {
        match found.unwrap() {
            Found::Menu(menu) => menu.base.to_string(),
            Found::Script(script) => panic!("a script from {}", script.url),
        }
    }

    /// Looks for a menu on a server that has `files` (by URL) and answers `code` for anything else; also returns what
    /// was asked for.
    fn look(lease: &Lease, files: &[(&str, Result<&str, u16>)]) -> (Result<Found, Error>, Vec<String>) {
        let mut asked = Vec::new();
        let places = places(&Settings::default(), lease, &board());
        let menu = first(&places, true, &mut [0; 4096], &mut |url, into| {
            asked.push(url.to_string());
            let file = files.iter().find(|(name, _)| *name == url.to_string());
            let text = file
                .map_or(Err(404), |(_, file)| *file)
                .map_err(|code| failed(url, code))?;
            into[..text.len()].copy_from_slice(text.as_bytes());
            Ok(crate::fetch::Response {
                url: url.clone(),
                len: text.len(),
            })
        });
        (menu, asked)
    }

    #[test]
    fn absent_files_lead_to_the_next_name_until_a_menu_is_there() {
        let (menu, asked) = look(
            &dhcp("", "", "http://a/", false),
            &[
                ("http://a/pxelinux.cfg/C000025B", Err(410)),
                ("http://a/pxelinux.cfg/C0", Ok("LABEL a\nLINUX Image\n")),
            ],
        );
        assert_eq!(base(menu), "http://a/");
        assert_eq!(asked.len(), 10);
    }

    #[test]
    fn a_server_in_trouble_ends_the_search_so_that_no_more_general_menu_boots_instead() {
        let default = ("http://a/pxelinux.cfg/default", Ok("LABEL wipe\n"));
        let trouble = ("http://a/pxelinux.cfg/01-dc-a6-32-ec-fc-3c", Err(503));
        let (menu, asked) = look(&dhcp("", "", "http://a/", false), &[default, trouble]);
        assert_eq!(asked.len(), 3);
        assert_eq!(
            menu.unwrap_err().to_string(),
            format!(
                "menu: {}; nothing else is booted in its stead",
                failed(&Url::parse(trouble.0).unwrap(), 503)
            )
        );
    }

    #[test]
    fn a_script_is_told_by_its_first_line_wherever_it_is() {
        let lease = dhcp("http://a/boot.php?mac=${mac:hexhyp}", "", "", true);
        for (name, asks) in [
            ("http://a/boot.php?mac=dc-a6-32-ec-fc-3c", 1),
            ("http://a/autoexec.ipxe", 2),
            ("http://a/pxelinux.cfg/default", 16),
            ("http://192.0.2.2/autoexec.ipxe", 17),
        ] {
            let (found, asked) = look(&lease, &[(name, Ok("#!ipxe\necho"))]);
            match found.unwrap() {
                Found::Script(script) => assert_eq!(
                    (script.url.to_string().as_str(), &*script.text),
                    (name, &b"#!ipxe\necho"[..])
                ),
                Found::Menu(_) => panic!("a menu at {name}"),
            }
            assert_eq!(asked.len(), asks, "{name}");
        }
    }

    #[test]
    fn when_nothing_is_found_the_named_file_is_the_one_line() {
        let (menu, asked) = look(&dhcp("http://a/boot.ipxe", "", "", true), &[]);
        assert_eq!(asked.len(), 1 + 3 * 15);
        assert_eq!(
            menu.unwrap_err().to_string(),
            "menu: none in 46 places, from http://a/boot.ipxe to tftp://192.0.2.2/pxelinux.cfg/default; \
             fetch: GET http://a/boot.ipxe: 404 Phrase"
        );
        assert_eq!(look(&lease(), &[]).0.unwrap_err(), Error::NoSource);
        let (menu, _) = look(&dhcp("https://a/menu", "", "", false), &[]);
        assert_eq!(
            menu.unwrap_err().to_string(),
            "menu: https://a/menu: scheme not supported, only http and tftp"
        );
    }

    #[test]
    fn a_redirected_menu_names_things_relative_to_where_it_came_from() {
        let places = places(
            &Settings::default(),
            &dhcp("http://a/menu", "", "", false),
            &board(),
        );
        let menu = first(&places, true, &mut [0; 64], &mut |_, into| {
            into[..8].copy_from_slice(b"LABEL a\n");
            Ok(crate::fetch::Response {
                url: Url::parse("http://b/x/pxelinux.cfg/y").unwrap(),
                len: 8,
            })
        });
        assert_eq!(base(menu), "http://b/x/");
    }
}
