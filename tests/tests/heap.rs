//! The board's heap: what a script may keep of it, whatever the script is, and that all bounds together fit into it.

use boot::load::device_tree::{HEAP_LIMIT, Tree};
use boot::load::overlay::{MAX_OVERLAYS, OVERLAY_HEAP_LIMIT, Overlay, merged};
use boot::{Error, heap};
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};
use smoltcp::time::Duration;
use tests::heap::{Counting, measured};
use tests::{Reply, Site};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that a script may hold, with what a command and the network take for a while.
const MOST: usize = heap::NETWORK + boot::script::budget::MAX_KEPT + heap::WAITING + heap::COMMAND;

/// Settings whose values double: `${a}` has 1 KiB, `${f}` 32 KiB and `${g}` 62 KiB.
fn long_values() -> String {
    let mut text = format!("set a {}\n", "0123456789abcdef".repeat(64));
    for pair in ["ab", "bc", "cd", "de", "ef"] {
        let (from, to) = pair.split_at(1);
        text.push_str(&format!("set {to} ${{{from}}}${{{from}}}\n"));
    }
    text + "set g ${f}${e}${d}${c}${b}\n"
}

/// A loop of `times` rounds of these lines, with the long values and `${n}`, a number from 0 on.
fn rounds(times: usize, lines: &str) -> String {
    let values = long_values();
    format!(
        "#!ipxe\n{values}params --name p\nform --name x\nset n:int32 0\n:round\n{lines}\ninc n\niseq ${{n}} {times} || goto round\n"
    )
}

/// Runs a script in one attempt, and returns how that ended and how much heap was held.
fn run(script: impl Into<Vec<u8>>) -> (String, usize) {
    let mut site = Site::with_payload(1, 600, 100);
    site.route("/boot/menu", [Reply::ok(script.into())]);
    site.route("/boot/small", [Reply::ok("x")]);
    site.route("/boot/big", [Reply::ok(vec![b'x'; 12 << 20])]);
    site.lan.limit(Duration::from_secs(3 * 3600));
    let (result, peak) = measured(|| site.boot_attempts(1));
    let end = match result {
        Ok(_) => "boots".into(),
        Err(error @ Error::Script(_)) => error.to_string(),
        Err(error) => panic!("no script ran: {error}"),
    };
    (end, peak)
}

/// What a script cannot keep is an error of its command, and no more heap than there is.
#[test]
fn whatever_a_script_keeps_has_an_end_in_bytes() {
    let full = "scripts keep more than";
    let long = "is longer than";
    let cases = [
        ("a file as a setting", "#!ipxe\nimgset x big\n".into(), long),
        ("settings", rounds(4000, "set s${n} ${f}"), full),
        ("names of settings", rounds(4000, "set ${f}${n} x"), full),
        (
            "a value of four words",
            rounds(1, "set s ${g} ${g} ${g} ${g}"),
            long,
        ),
        ("blocks", rounds(60, "set ${g}${n}/x y"), full),
        (
            "blocks in blocks",
            rounds(1, &format!("set {}/x y", "${f}.".repeat(60))),
            "expands to more",
        ),
        ("labels", format!("#!ipxe\n{}", ":\n".repeat(520_000)), full),
        (
            "long labels",
            format!("#!ipxe\n{}", format!(":{}\n", "x".repeat(40)).repeat(12_000)),
            "ended without",
        ),
        ("items", rounds(400, "item --form x k ${g}"), full),
        ("names of items", rounds(400, "item --form x ${g} k"), full),
        (
            "short items",
            rounds(5000, "item --form x k ${n}"),
            "more than 2048 items",
        ),
        ("titles", rounds(60, "menu --name m${n} ${g}"), full),
        (
            "a title of four words",
            rounds(60, "menu --name m${n} ${g} ${g} ${g} ${g}"),
            long,
        ),
        ("names of menus", rounds(60, "menu --name ${g}${n} t"), full),
        (
            "parameters",
            rounds(60, "param --params p k ${g}"),
            "parameters of one list",
        ),
        (
            "keys of parameters",
            rounds(60, "param --params p ${g} v"),
            "parameters of one list",
        ),
        (
            "parameters of four words",
            rounds(1, "param --params p k ${g} ${g} ${g} ${g}"),
            long,
        ),
        (
            "lists",
            rounds(15, "params --name ${n}\nparam --params ${n} k ${g}"),
            "ended without",
        ),
        (
            "arguments",
            rounds(60, "imgfetch --name i${n} small\nimgargs i${n} ${g}"),
            full,
        ),
        (
            "names of images",
            rounds(60, "imgfetch --name ${g}${n} small"),
            full,
        ),
        (
            "arguments of four words",
            rounds(1, "imgfetch --name i small\nimgargs i ${g} ${g} ${g} ${g}"),
            long,
        ),
        (
            "a form of one field many times",
            rounds(1000, "item --form x s") + "set s ${g}\npresent --form x\n",
            full,
        ),
        (
            "all settings on the screen",
            rounds(40, "set s${n} ${g}") + "config\n",
            "ended without",
        ),
        (
            "a menu on the screen",
            rounds(40, "item --form x ${n} ${g}") + "choose --menu x --timeout 100 r\n",
            "ended without",
        ),
        (
            "what is sent",
            rounds(1, "param --params p k ${f}${d}\nparam --params p --header h ${c}")
                + "imgfetch small##params=p\n",
            "ended without",
        ),
        (
            "scripts that wait for others",
            format!("#!ipxe\nchain menu || echo {}\nexit 1\n", "x".repeat(60_000)),
            "status 0x1",
        ),
        (
            "files for a boot",
            format!(
                "#!ipxe\nset n:int32 0\n:round\ninitrd --name i${{n}} small {}x mkdir=-1\ninc n\niseq ${{n}} 200 || goto round\nboot Image\n",
                "x/".repeat(110)
            ),
            full,
        ),
        (
            "one line",
            rounds(1, &format!("echo {}", "${a}".repeat(400))),
            "expands to more",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, script, expected) in cases {
        let (end, peak) = run(script);
        println!(
            "{what}: {} KiB, {}",
            peak >> 10,
            end.chars().take(200).collect::<String>()
        );
        if peak > MOST {
            wrong.push(format!("{what} held {} KiB", peak >> 10));
        }
        if !end.contains(expected) {
            wrong.push(format!("{what}: {}", end.chars().take(300).collect::<String>()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whatever a menu says, its model takes no more than its bound.
#[test]
fn a_menu_has_an_end_in_bytes() {
    let labels = |lines: &str| -> String {
        (0..1000)
            .map(|n| format!("LABEL {n}\nLINUX a\n{lines}"))
            .collect()
    };
    let long = |len: usize| "x".repeat(len);
    let cases = [
        (
            "one APPEND for all",
            format!("APPEND {}\n{}", long(16_000), labels("")),
        ),
        ("one APPEND each", labels(&format!("APPEND {}\n", long(200)))),
        (
            "long names",
            (0..1000).map(|n| format!("LABEL {n}{}\n", long(240))).collect(),
        ),
        ("one INITRD each", labels(&format!("INITRD {}\n", long(200)))),
        ("texts", "DISPLAY text\n".repeat(500) + &labels("")),
        (
            "lines of help",
            labels("TEXT HELP\na\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk\nl\nm\nn\no\np\nENDTEXT\n"),
        ),
        (
            "titles",
            format!("MENU BEGIN\nMENU TITLE {}\nMENU END\n", long(4_000)).repeat(60) + &labels(""),
        ),
        (
            "times of pages",
            format!(
                "MENU BEGIN\nMENU ONERROR {0}\nONTIMEOUT {0}\nMENU END\n",
                long(2_000)
            )
            .repeat(60),
        ),
        (
            "a menu of everything",
            labels(
                "MENU LABEL ^A\nMENU PASSWD x\nFDT d\nFDTDIR e\nFDTOVERLAYS a b c\nINITRD a b\nAPPEND c\nTEXT HELP\na\nENDTEXT\n",
            ),
        ),
    ];
    let mut wrong = Vec::new();
    for (what, text) in cases {
        let mut site = Site::with_payload(1, 600, 100);
        site.route("/boot/menu", [Reply::ok(text)]);
        site.route("/boot/text", [Reply::ok(long(16 * 1024))]);
        site.lan.limit(Duration::from_secs(3 * 3600));
        let (result, peak) = measured(|| site.boot_attempts(1));
        println!("{what}: {} KiB, {result:?}", peak >> 10);
        if peak > heap::NETWORK + heap::MENU {
            wrong.push(format!("{what} held {} KiB", peak >> 10));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A node with children of these numbers, each with a property of so many bytes.
fn node(name: &str, children: usize, bytes: usize) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new_unchecked(name);
    for n in 0..children {
        let mut child = DeviceTreeNode::new_unchecked(format!("n{n}"));
        child.add_property(DeviceTreeProperty::new_unchecked(
            format!("p{}", n % 7),
            vec![1_u8; bytes],
        ));
        node.add_child(child);
    }
    node
}

/// The largest tree of such nodes that may take no more than `heap`, with `around` about them.
fn largest(heap: usize, bytes: usize, around: impl Fn(DeviceTreeNode) -> DeviceTreeNode) -> Vec<u8> {
    let of = |children: usize| {
        let mut tree = DeviceTree::new();
        tree.root = around(node("inner", children, bytes));
        tree.to_dtb()
    };
    let (mut fits, mut does_not) = (1, heap / bytes.max(500) + 2);
    while does_not - fits > 1 {
        let middle = usize::midpoint(fits, does_not);
        match Tree::check_within(&of(middle), heap) {
            Ok(_) => fits = middle,
            Err(_) => does_not = middle,
        }
    }
    of(fits)
}

/// Whatever a tree and its overlays are made of, they take no more than their bound while they are merged and written.
#[test]
fn a_device_tree_with_its_overlays_has_an_end_in_bytes() {
    let root = |inner| {
        let mut root = DeviceTreeNode::new_unchecked("");
        root.add_child(inner);
        root
    };
    let overlay = |inner: DeviceTreeNode| {
        let mut addition = DeviceTreeNode::new_unchecked("__overlay__");
        addition.add_child(inner);
        let mut fragment = DeviceTreeNode::new_unchecked("fragment@0");
        fragment.add_property(DeviceTreeProperty::new_unchecked("target-path", "/"));
        fragment.add_child(addition);
        root(fragment)
    };
    for bytes in [0, 4, 300, 100_000, 1_000_000] {
        let base = largest(HEAP_LIMIT, bytes, root);
        let small = largest(HEAP_LIMIT / 8, bytes.min(10_000), root);
        let more = largest(OVERLAY_HEAP_LIMIT, bytes.min(300_000), overlay);
        for (what, base, overlays) in [("a tree", &base, 0), ("overlays", &small, MAX_OVERLAYS)] {
            let overlays = vec![
                Overlay {
                    name: "more",
                    bytes: &more
                };
                overlays
            ];
            let (dtb, peak) =
                measured(|| tests::as_boot(|| merged(&Tree::check(base).unwrap(), &overlays).to_dtb()));
            println!(
                "{what} of {bytes} bytes each: {} KiB, {} KiB written",
                peak >> 10,
                dtb.len() >> 10
            );
            assert!(peak <= HEAP_LIMIT, "{what} of {bytes} bytes each: {peak}");
        }
    }
}

/// The table of bounds is the one that people read, and the heap is as long as the board's.
#[test]
fn the_bounds_are_what_the_docs_say_and_fit_into_the_heap() {
    let root = tests::checkout::root();
    let link = std::fs::read_to_string(root.join("link.ld")).unwrap();
    let symbol = |name: &str| {
        let value = link.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let digits = value.trim_start_matches([' ', '=']).trim_start_matches("0x");
        usize::from_str_radix(digits.trim_end_matches(';'), 16).unwrap()
    };
    assert_eq!(symbol("HEAP_END") - symbol("WINDOW"), heap::SIZE);
    let limits = std::fs::read_to_string(root.join("docs/src/limits.md")).unwrap();
    let all = heap::TABLE.iter().copied();
    for (what, bytes) in all.chain([("at once, at most", heap::MOST), ("the heap", heap::SIZE)]) {
        let row = format!("| {what} | {} KiB |", bytes.div_ceil(1024));
        assert!(limits.contains(&row), "docs/src/limits.md has no row {row}");
    }
}
