//! A whole bench: LAN, DHCP server, web server, node, and the payload that must end up in its memory.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use boot::{Clock as _, Ending, Error, Handoff, Settings};
use dtoolkit::fdt::Fdt;
use dtoolkit::{Node as _, Property as _};
use smoltcp::time::Duration;

use crate::dhcp::Dhcp;
use crate::http::{Http, Reply};
use crate::lan::Lan;
use crate::node::Node;
use crate::payload;
use crate::trace::{self, Line};

/// Where the DHCP server is.
pub const DHCP: [u8; 4] = [192, 168, 7, 1];
/// Where the web server is.
pub const HTTP: [u8; 4] = [192, 168, 7, 2];
/// The URL that the DHCP server names as boot file.
pub const MENU: &str = "http://192.168.7.2/boot/menu";
/// The menu behind it.
pub const MENU_TEXT: &str = "\
DEFAULT debian
LABEL debian
  LINUX Image
  INITRD initrd.img
  APPEND root=/dev/ram0 console=ttyS1,115200
";

/// A bench on which everything works until a test spoils it.
pub struct Site {
    /// The network.
    pub lan: Lan,
    /// Its DHCP server.
    pub dhcp: Rc<RefCell<Dhcp>>,
    /// Its web server.
    pub http: Rc<RefCell<Http>>,
    /// The machine under test.
    pub node: Node,
    /// The kernel served at `/boot/Image`.
    pub kernel: Vec<u8>,
    /// The initrd served at `/boot/initrd.img`.
    pub initrd: Vec<u8>,
}

impl Site {
    /// A perfect network; `seed` decides what impairments added later will hit.
    pub fn new(seed: u64) -> Self {
        Self::with_payload(seed, 300_000, 200_001)
    }

    /// The same with a kernel and an initrd of these sizes.
    pub fn with_payload(seed: u64, kernel: usize, initrd: usize) -> Self {
        let lan = Lan::new(seed);
        let dhcp = lan.serve(DHCP, Dhcp::new().boot_file(MENU));
        let http = lan.attach(Http::new(HTTP));
        let site = Self {
            lan,
            dhcp,
            http,
            node: Node::new(),
            kernel: payload::image(kernel),
            initrd: payload::body(initrd, 77),
        };
        site.route("/boot/menu", [Reply::ok(MENU_TEXT)]);
        site.route("/boot/Image", [Reply::ok(site.kernel.clone())]);
        site.route("/boot/initrd.img", [Reply::ok(site.initrd.clone())]);
        site
    }

    /// A site with a payload of usual size whose DHCP server names this boot file.
    pub fn named(seed: u64, boot_file: &str) -> Self {
        let site = Self::with_payload(seed, 50_000, 10_000);
        site.dhcp.borrow_mut().file = boot_file.into();
        site
    }

    /// A site with a payload of usual size, this menu, and a person who types these keys, each at its second.
    pub fn with_menu(seed: u64, menu: &str, keys: &[(u64, &[u8])]) -> Self {
        let mut site = Self::with_payload(seed, 50_000, 10_000);
        site.route("/boot/menu", [Reply::ok(menu)]);
        for (at, bytes) in keys {
            site.node = std::mem::take(&mut site.node).types(Duration::from_secs(*at), *bytes);
        }
        site
    }

    /// Sets the replies of a path of the web server: each is used once, the last for ever.
    pub fn route(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.http.borrow_mut().route(path, replies);
    }

    /// Boots without end, as a node in the field does.
    pub fn boot(&mut self) -> Result<Handoff, Error> {
        self.boot_with(&Settings::default())
    }

    /// Boots with at most `attempts` attempts.
    pub fn boot_attempts(&mut self, attempts: u32) -> Result<Handoff, Error> {
        self.boot_with(&Settings {
            attempts: Some(attempts),
            ..Settings::default()
        })
    }

    /// Boots with these settings.
    pub fn boot_with(&mut self, settings: &Settings) -> Result<Handoff, Error> {
        self.node.boot(&self.lan, settings)
    }

    /// Boots, and says how that ends.
    pub fn ends(&mut self) -> Ending {
        self.node.run(&self.lan, &Settings::default())
    }

    /// Boots, and proves that kernel, initrd and device tree lie in memory as they must.
    pub fn boots(&mut self) -> Loaded {
        let handoff = self.boot().expect("the site is in order");
        let loaded = self.inspect(&handoff);
        assert_eq!(
            self.node.at(handoff.entry)[..self.kernel.len()],
            self.kernel[..],
            "the kernel at its entry"
        );
        assert_eq!(loaded.initrd, self.initrd, "the initrd");
        loaded
    }

    /// The paths that the web server was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.http.borrow().paths()
    }

    /// When the node booted, in whole seconds of virtual time.
    pub fn booted_at(&self) -> u64 {
        self.lan.now().total_millis().cast_unsigned() / 1000
    }

    /// Reads memory as the kernel would find it, and checks what holds for every handoff.
    pub fn inspect(&self, handoff: &Handoff) -> Loaded {
        assert_eq!(handoff.entry % (2 << 20), 0, "arm64 wants 2 MiB alignment");
        assert_eq!(
            handoff.device_tree % 8,
            0,
            "arm64 wants the device tree on 8 bytes"
        );
        let tree = self.node.at(handoff.device_tree);
        let total = tree[4..8].try_into().map(u32::from_be_bytes).expect("four bytes");
        let fdt = Fdt::new(&tree[..total as usize]).expect("a valid device tree");
        let chosen = fdt.find_node("/chosen").expect("/chosen");
        let cells = |name: &str| {
            chosen.property(name).map(|property| {
                property
                    .value()
                    .iter()
                    .fold(0, |all, byte| all << 8 | u64::from(*byte))
            })
        };
        let bootargs = chosen.property("bootargs").map_or(String::new(), |property| {
            property
                .value_as::<&str>()
                .expect("bootargs are text")
                .to_string()
        });
        let initrd = match (cells("linux,initrd-start"), cells("linux,initrd-end")) {
            (Some(start), Some(end)) => start..end,
            (None, None) => 0..0,
            other => panic!("half an initrd: {other:?}"),
        };
        let tree = handoff.device_tree..handoff.device_tree + fdt.data().len() as u64;
        let image_size = self.node.at(handoff.entry)[16..24]
            .try_into()
            .map(u64::from_le_bytes)
            .expect("eight bytes");
        let kernel = handoff.entry..handoff.entry + image_size;
        for (one, other) in [(&kernel, &initrd), (&kernel, &tree), (&initrd, &tree)] {
            assert!(
                one.end <= other.start || other.end <= one.start,
                "{one:x?} and {other:x?} overlap"
            );
        }
        for part in [
            &(kernel.start..kernel.start + self.kernel.len() as u64),
            &initrd,
            &tree,
        ] {
            assert!(
                part.is_empty()
                    || handoff
                        .written
                        .iter()
                        .any(|range| range.start <= part.start && part.end <= range.end),
                "{part:x?} was written but is not cleaned from the cache: {:x?}",
                handoff.written
            );
        }
        assert!(
            fdt.memory_reservations()
                .any(|reservation| reservation.address() == 0),
            "the firmware's reservation of page 0"
        );
        assert!(fdt.find_node("/memory@0").is_some(), "the memory node");
        Loaded {
            bootargs,
            initrd: self.bytes(&initrd).to_vec(),
            kaslr_seed: cells("kaslr-seed"),
            tree: self.bytes(&tree).to_vec(),
            places: [kernel, initrd, tree],
        }
    }

    fn bytes(&self, range: &Range<u64>) -> &[u8] {
        if range.is_empty() {
            return &[];
        }
        &self.node.at(range.start)[..(range.end - range.start) as usize]
    }

    /// The error lines so far.
    pub fn errors(&self) -> Vec<Line> {
        trace::lines()
            .into_iter()
            .filter(|line| line.level == log::Level::Error)
            .collect()
    }
}

/// The memory as the kernel finds it.
pub struct Loaded {
    /// `/chosen/bootargs`.
    pub bootargs: String,
    /// The bytes between `linux,initrd-start` and `-end`; empty when there are none.
    pub initrd: Vec<u8>,
    /// `/chosen/kaslr-seed`.
    pub kaslr_seed: Option<u64>,
    /// The whole device tree.
    pub tree: Vec<u8>,
    /// Where kernel, initrd and device tree lie.
    pub places: [Range<u64>; 3],
}

impl Loaded {
    /// The word of the command line by which the tests' menus say which entry booted.
    pub fn entry(&self) -> &str {
        let found = self
            .bootargs
            .split(' ')
            .find_map(|word| word.strip_prefix("entry="));
        found.expect("an entry's command line")
    }
}
