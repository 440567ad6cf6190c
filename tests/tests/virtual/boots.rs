//! Whole boots with faults of everything around the node, by the thousand: each ends as the policy says, with the bytes that were served.
//!
//! A seed names a site, the faults of its servers and of its cable, the power cuts, and the board's settings. The node is run until it boots, again after
//! each reset, each power cut and each run of its disk's system.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use boot::patience::COMES_BACK;
use boot::{Clock as _, Ending, Local, Settings};
use smoltcp::time::{Duration, Instant};
use tests::{GivenUp, Link, Node, Random, Reply, Site, payload, seeds};

/// How many, when not the number in [`VARIABLE`].
const BOOTS: u64 = 500;
/// Set by `cargo xtask campaign boots`.
const VARIABLE: &str = "BRAMBLE_BOOTS";
/// A node that rests in its waits: what is tested is minutes and hours.
const REST: Duration = Duration::from_millis(200);
/// A board that starts more often does nothing else.
const MOST_STARTS: usize = 200;

const HONEST: &str = "DEFAULT a\nONERROR rescue\nLABEL a\nLINUX Image\nINITRD initrd.img\nAPPEND honest\n\
                      LABEL rescue\nLINUX /boot/rescue\nAPPEND rescue\n";

/// What the menu's server answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Text {
    /// The menu that boots.
    Honest,
    /// "Not you", in a script's words or a menu's.
    Exit,
    LocalBoot,
    Drive,
    /// "Not you" behind a download of the probe, which was absent or in trouble.
    Behind,
    /// Nothing that says anything.
    Trouble,
}

/// How a start of the node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Booted,
    Rescued,
    WentToDisk,
    Reset,
    LostPower,
}

/// An answer in trouble to a request for `body`.
fn trouble(random: &mut Random, body: &[u8]) -> Reply {
    let statuses = [
        "500 x", "502 x", "503 x", "504 x", "403 x", "401 x", "429 x", "418 x",
    ];
    let cut = random.below(body.len().max(2));
    match random.below(11) {
        0..4 => Reply::status(statuses[random.below(statuses.len())], "x"),
        4 => Reply::ok("<html><body>captive</body></html>"),
        5 => Reply::ok(""),
        6 => Reply::ok(body).truncated(cut),
        7 => Reply::ok(body).stalled(cut),
        8 => Reply::ok(body).reset(cut),
        9 => Reply::redirect(302, "http://192.168.7.2/round"),
        _ => {
            let mut garbage = vec![0; 200 + random.below(3000)];
            random.fill(&mut garbage);
            Reply::raw(garbage)
        }
    }
}

/// A slow or late honest answer.
fn late(random: &mut Random, reply: Reply) -> Reply {
    match random.below(4) {
        0 => reply.after(Duration::from_secs(random.below(100) as u64)),
        1 => reply.chunked(100),
        2 => reply.closing(),
        _ => reply,
    }
}

/// What `text` is in bytes.
fn answer(random: &mut Random, text: Text) -> Reply {
    let script = |line: &str| Reply::ok(format!("#!ipxe\n{line}\n"));
    let reply = match text {
        Text::Honest => Reply::ok(HONEST),
        Text::Exit => script(["exit", "exit 1", "echo bye"][random.below(3)]),
        Text::Drive => script("sanboot --no-describe --drive 0x80"),
        Text::Behind => script(["chain /boot/probe || exit", "chain /boot/probe || exit 1"][random.below(2)]),
        Text::LocalBoot => Reply::ok("DEFAULT l\nLABEL l\nLOCALBOOT 0\n"),
        Text::Trouble => return trouble(random, HONEST.as_bytes()),
    };
    late(random, reply)
}

struct Session {
    site: Site,
    settings: Settings,
    rescue: Vec<u8>,
    /// The menu's answers, one for each request, the last for ever.
    texts: Vec<Text>,
    /// The probe's, whether each is "absent".
    probes: Vec<bool>,
    starts: u64,
}

impl Session {
    fn new(seed: u64) -> Self {
        let random = &mut Random::new(seed);
        let site = Site::with_payload(seed, 60_000 + random.below(5000), 9000 + random.below(3000));
        site.lan.limit(COMES_BACK * 3);
        site.lan.rest_long(REST);
        // Longer than the kernel, of which a part may lie there: `inspect` finds all that is written and not cleaned.
        let rescue = payload::image(70_000);
        site.route("/boot/rescue", [Reply::ok(rescue.clone())]);
        site.route("/round", [Reply::redirect(302, "http://192.168.7.2/round")]);
        let kinds = [
            Text::Trouble,
            Text::Trouble,
            Text::Trouble,
            Text::Exit,
            Text::LocalBoot,
            Text::Drive,
            Text::Behind,
            Text::Honest,
        ];
        let mut texts: Vec<Text> = (0..random.below(6))
            .map(|_| kinds[random.below(kinds.len())])
            .collect();
        texts.push(Text::Honest);
        let replies: Vec<Reply> = texts.iter().map(|text| answer(random, *text)).collect();
        site.route("/boot/menu", replies);
        let probes: Vec<bool> = (0..6).map(|_| random.chance(0.5)).collect();
        let replies = probes.iter().map(|absent| match absent {
            true => Reply::status("404 Not Found", "x"),
            false => trouble(random, b"#!ipxe\nexit\n"),
        });
        let replies: Vec<Reply> = replies.collect();
        site.route("/boot/probe", replies);
        for (path, body) in [
            ("/boot/Image", site.kernel.clone()),
            ("/boot/initrd.img", site.initrd.clone()),
        ] {
            let faults = random.below(4).saturating_sub(1);
            let mut replies: Vec<Reply> = (0..faults)
                .map(|_| match random.below(5) {
                    0 => Reply::status("404 Not Found", "x"),
                    _ => trouble(random, &body),
                })
                .collect();
            replies.push(Reply::ok(body).every_length());
            site.route(path, replies);
        }
        if random.chance(0.4) {
            let share = |random: &mut Random| random.below(40) as f64 / 1000.0;
            site.lan.link(Link {
                loss: share(random),
                duplication: share(random),
                reordering: share(random),
                ..Link::default()
            });
        }
        if random.chance(0.2) {
            let until = Instant::from_secs(random.below(3600) as i64);
            site.dhcp.borrow_mut().silent_until = until;
        }
        let settings = Settings {
            local: random.chance(0.5).then_some(Local::Tryboot),
            attempts: [None, Some(1), Some(2), Some(5)][random.below(4)],
            ..Settings::default()
        };
        Self {
            site,
            settings,
            rescue,
            texts,
            probes,
            starts: 0,
        }
    }

    /// How often a path was asked for.
    fn asked(&self, path: &str) -> usize {
        self.site.asked().iter().filter(|asked| *asked == path).count()
    }

    /// What the menu's server, and the probe, said last.
    fn last_text(&self) -> Text {
        self.texts[self.asked("/boot/menu").clamp(1, self.texts.len()) - 1]
    }

    fn probe_was_absent(&self) -> bool {
        self.probes[self.asked("/boot/probe").clamp(1, self.probes.len()) - 1]
    }

    /// One start of the node, which may lose its power.
    fn start(&mut self, power_cut: Option<Duration>) -> End {
        // Without power memory forgets.
        self.site.node = Node::with_memory(16 << 20);
        self.site.http.borrow_mut().give_up_connections();
        // Nor does it remember its ports, and draws others.
        self.starts += 1;
        self.site.node.entropy_seed = self.starts;
        let cut = power_cut.map_or(COMES_BACK * 4, |after| {
            self.site.lan.now() - Instant::ZERO + after
        });
        self.site.lan.give_up(cut);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            self.site.node.run(&self.site.lan, &self.settings)
        }));
        self.site.lan.kick();
        let ending = match ran {
            Ok(ending) => ending,
            Err(why) if why.is::<GivenUp>() => return End::LostPower,
            Err(why) => std::panic::resume_unwind(why),
        };
        match ending {
            Ending::Boot(handoff, _) => {
                let loaded = self.site.inspect(&handoff);
                let at = self.site.node.at(handoff.entry);
                // Only an honest menu names kernels.
                assert_eq!(self.last_text(), Text::Honest);
                if loaded.bootargs.starts_with("rescue") {
                    assert_eq!(at[..self.rescue.len()], self.rescue[..], "the rescue kernel");
                    assert_eq!(loaded.initrd, [0; 0]);
                    return End::Rescued;
                }
                assert!(loaded.bootargs.starts_with("honest"), "{}", loaded.bootargs);
                assert_eq!(at[..self.site.kernel.len()], self.site.kernel[..], "the kernel");
                assert_eq!(loaded.initrd, self.site.initrd, "the initrd");
                End::Booted
            }
            Ending::Reset(_) => {
                assert!(self.settings.attempts.is_some(), "nobody asked for a reset");
                End::Reset
            }
            Ending::Local(way) => {
                assert_eq!(Some(way), self.settings.local, "nobody allowed the disk");
                match self.last_text() {
                    Text::Exit | Text::LocalBoot | Text::Drive => {}
                    Text::Behind => assert!(self.probe_was_absent(), "the probe was in trouble"),
                    other => panic!("{other:?} leads to no disk"),
                }
                End::WentToDisk
            }
            Ending::PowerOff => panic!("nobody said poweroff"),
        }
    }
}

/// The session that `seed` names: how its starts ended, and when the last one did.
fn session(seed: u64) -> (Vec<End>, Duration) {
    let mut session = Session::new(seed);
    let random = &mut Random::new(seed ^ 0x9e37_79b9);
    let mut ends = Vec::new();
    let mut cuts = random.below(4);
    loop {
        let cut = (cuts > 0 && random.chance(0.6)).then(|| {
            cuts -= 1;
            Duration::from_millis(random.below(90_000) as u64)
        });
        let end = session.start(cut);
        ends.push(end);
        if matches!(end, End::Booted | End::Rescued) {
            return (ends, session.site.lan.now() - Instant::ZERO);
        }
        assert!(ends.len() < MOST_STARTS, "it does nothing but start");
    }
}

#[test]
fn random_boots_end_as_the_policy_says() {
    let seeds = seeds::range(VARIABLE, BOOTS);
    let count = seeds.end - seeds.start;
    let results = seeds::each(seeds, |seed| {
        catch_unwind(AssertUnwindSafe(|| session(seed))).map_err(|why| {
            let text = why.downcast_ref::<String>().cloned();
            text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_string()))
                .unwrap_or_default()
        })
    });
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(seed, result)| Some(format!("seed {seed}: {:.300}", result.as_ref().err()?)))
        .collect();
    let mut told: BTreeMap<End, u64> = BTreeMap::new();
    let mut longest = Duration::ZERO;
    for (ends, took) in results.iter().filter_map(|(_, result)| result.as_ref().ok()) {
        for end in ends {
            *told.entry(*end).or_default() += 1;
        }
        longest = longest.max(*took);
    }
    println!(
        "{count} nodes, the longest for {} min: {told:?}",
        longest.secs() / 60
    );
    assert!(
        failed.is_empty(),
        "{} of {count} failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    if count >= BOOTS {
        // Each way to end comes often enough to be looked at.
        assert!(
            told.len() == 5 && told.values().all(|times| *times >= count / 50),
            "{told:?}"
        );
    }
}
