//! The decisions are navigable: DESIGN.md's table, the pages of `docs/design/` and what the code cites agree, and every file named exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;
use tests::checkout::{below, root};

/// Numbers that no decision ever had.
const NEVER_GIVEN: [u32; 3] = [95, 125, 126];
/// Files whose text may cite decisions, and whose names are looked for in prose.
const KINDS: [&str; 10] = ["rs", "S", "c", "h", "ld", "md", "patch", "sh", "toml", "txt"];
/// Pages outside of `docs/design/` whose file names are the checkout's.
const GUIDES: [&str; 5] = [
    "CONTRIBUTING.md",
    "docs/src/developing.md",
    "docs/src/life-of-a-byte.md",
    "docs/src/life-of-a-text.md",
    "docs/src/limits.md",
];
/// What is no part of the checkout's text.
const LEFT_OUT: [&str; 4] = [".git", "target", "artifacts", "corpus"];

static ID: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:^|[^A-Za-z0-9-])D-(\d+)").expect("a pattern"));
static ROW: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^\| \[D-(\d+)\]\((docs/design/\w+\.md)#d-(\d+)\) \| (.+) \| (.+) \| (.*) \|$")
        .expect("a pattern")
});
static TITLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)^\*\*(.+?)\.\*\*\s").expect("a pattern"));
static FORWARD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?s)^\*Replaced( in part)? by ([^.:*]*?)(?:: [^*]*)?\.\*\n\n").expect("a pattern")
});
static QUOTED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`([\w.+/-]+)`").expect("a pattern"));

/// A row of the table.
#[derive(Debug)]
struct Row {
    id: u32,
    page: String,
    title: String,
    state: String,
    places: Vec<String>,
}

/// A decision as a page has it.
#[derive(Debug)]
struct Decision {
    id: u32,
    page: String,
    text: String,
}

impl Decision {
    /// Its title, on one line.
    fn title(&self) -> String {
        let body = FORWARD.replace(&self.text, "");
        let title = TITLE
            .captures(&body)
            .map_or("", |found| found.get(1).map_or("", |title| title.as_str()));
        title.replace('\n', " ")
    }

    /// What has become of it, in the words of the table.
    fn state(&self) -> String {
        match FORWARD.captures(&self.text) {
            None => "in force".to_owned(),
            Some(found) if found.get(1).is_none() => format!("replaced by {}", &found[2]),
            Some(found) => format!("in part replaced by {}", &found[2]),
        }
    }

    /// Its newer ones.
    fn forward(&self) -> Vec<u32> {
        FORWARD
            .captures(&self.text)
            .map_or(Vec::new(), |found| cited(&found[2]))
    }

    /// The older ones that it says it replaces, whole or in part.
    fn replaces(&self) -> Vec<u32> {
        let mut sentences = self.text.split_inclusive(['.', ':']);
        let found = sentences
            .by_ref()
            .filter(|sentence| sentence.trim_start().starts_with("Replaces "));
        found.flat_map(cited).collect()
    }

    fn replaced(&self) -> bool {
        self.state().starts_with("replaced")
    }
}

/// The decisions that `text` cites.
fn cited(text: &str) -> Vec<u32> {
    ID.captures_iter(text)
        .filter_map(|found| found[1].parse().ok())
        .collect()
}

/// The rows of DESIGN.md's table.
fn rows(design: &str) -> Vec<Row> {
    let found = design.lines().filter(|line| line.starts_with("| [D-"));
    let read = |line: &str| {
        let found = ROW.captures(line).unwrap_or_else(|| panic!("not a row: {line}"));
        assert_eq!(found[1], found[3], "a link leads elsewhere: {line}");
        Row {
            id: found[1].parse().expect("a number"),
            page: found[2].to_owned(),
            title: found[4].to_owned(),
            state: found[5].to_owned(),
            places: QUOTED
                .captures_iter(&found[6])
                .map(|place| place[1].to_owned())
                .collect(),
        }
    };
    found.map(read).collect()
}

/// The decisions of a page.
fn decisions(page: &str, text: &str) -> Vec<Decision> {
    let read = |section: &str| {
        let (id, text) = section.split_once("\n\n").unwrap_or((section, ""));
        Decision {
            id: id.parse().unwrap_or_else(|_| panic!("{page}: D-{id}")),
            page: page.to_owned(),
            text: text.to_owned(),
        }
    };
    text.split("\n## D-").skip(1).map(read).collect()
}

/// What is wrong between the table and the pages.
fn disagreements(rows: &[Row], decisions: &[Decision]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut told: BTreeMap<u32, &Decision> = BTreeMap::new();
    for decision in decisions {
        if told.insert(decision.id, decision).is_some() {
            wrong.push(format!("D-{} is told twice", decision.id));
        }
    }
    for pair in rows.windows(2) {
        if pair[0].id >= pair[1].id {
            wrong.push(format!(
                "D-{} stands behind D-{} in the table",
                pair[1].id, pair[0].id
            ));
        }
    }
    let listed: BTreeSet<u32> = rows.iter().map(|row| row.id).collect();
    for id in 1..=listed
        .last()
        .copied()
        .unwrap_or(0)
        .max(told.keys().last().copied().unwrap_or(0))
    {
        let (listed, told) = (listed.contains(&id), told.contains_key(&id));
        if NEVER_GIVEN.contains(&id) {
            if listed || told {
                wrong.push(format!("D-{id} was never given"));
            }
        } else if !listed || !told {
            wrong.push(format!("D-{id}: in the table {listed}, on a page {told}"));
        }
    }
    for row in rows {
        let Some(decision) = told.get(&row.id) else {
            continue;
        };
        let of_page = (&decision.page, decision.title(), decision.state());
        if of_page != (&row.page, row.title.clone(), row.state.clone()) {
            wrong.push(format!(
                "D-{}: the table has ({}, {}, {}), the page {of_page:?}",
                row.id, row.page, row.title, row.state
            ));
        }
        if !decision.replaced() && row.places.is_empty() {
            wrong.push(format!("D-{} is in force nowhere", row.id));
        }
    }
    for decision in decisions {
        for newer in decision.forward() {
            if newer <= decision.id || !told.contains_key(&newer) {
                wrong.push(format!(
                    "D-{} points to D-{newer}, which is no newer one",
                    decision.id
                ));
            }
        }
        if decision.state() != "in force" && decision.forward().is_empty() {
            wrong.push(format!("D-{} points nowhere", decision.id));
        }
        for older in decision.replaces() {
            if !told
                .get(&older)
                .is_some_and(|older| older.forward().contains(&decision.id))
            {
                wrong.push(format!(
                    "D-{} replaces D-{older}, which does not say so",
                    decision.id
                ));
            }
        }
    }
    wrong
}

/// What is wrong with the decisions that `text` cites, a file that obeys them.
fn stale(name: &str, text: &str, decisions: &[Decision]) -> Vec<String> {
    let judge = |id: u32| match decisions.iter().find(|decision| decision.id == id) {
        None => Some(format!("{name} cites D-{id}, which does not exist")),
        Some(decision) if decision.replaced() => Some(format!("{name} cites D-{id}, {}", decision.state())),
        Some(_) => None,
    };
    cited(text).into_iter().filter_map(judge).collect()
}

/// The files and directories that `text` names in backquotes and that `tree` lacks. A name may leave out where it begins.
fn missing(name: &str, text: &str, tree: &BTreeSet<String>) -> Vec<String> {
    let is_file = |word: &str| {
        Path::new(word)
            .extension()
            .and_then(|kind| kind.to_str())
            .is_some_and(|kind| KINDS.contains(&kind))
    };
    let there = |word: &str| {
        let tail = format!("/{word}");
        tree.iter().any(|file| file == word || file.ends_with(&tail))
    };
    let words = QUOTED.captures_iter(text).map(|found| found[1].to_owned());
    // Directories on servers (`pxelinux.cfg/`) are none of ours.
    let is_directory = |word: &str| word.ends_with('/') && word != "/" && !word.contains('.');
    let lacking = words.filter(|word| (is_file(word) || is_directory(word)) && !there(word));
    lacking
        .map(|word| format!("{name} names {word}, which is not there"))
        .collect()
}

/// The directories of the checkout and the files that KINDS has, by their paths from the root; directories end in a slash.
fn tree() -> BTreeSet<String> {
    let enters = |directory: &Path| !LEFT_OUT.iter().any(|name| directory.ends_with(name));
    let root = root();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("below the root").to_str()?;
        let kind = path.extension().and_then(|kind| kind.to_str());
        if path.is_dir() {
            Some(format!("{name}/"))
        } else {
            kind.filter(|kind| KINDS.contains(kind)).map(|_| name.to_owned())
        }
    };
    below(&root, enters).into_iter().filter_map(named).collect()
}

/// Whether this is a package's README. Those further down name other projects' files, too.
fn is_front_page(name: &str) -> bool {
    name.split_once('/').is_some_and(|(_, rest)| rest == "README.md")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The pages of decisions: from their names to their text.
fn pages(tree: &BTreeSet<String>) -> BTreeMap<String, String> {
    let pages = tree
        .iter()
        .filter(|name| name.starts_with("docs/design/") && name.ends_with(".md"));
    pages.map(|name| (name.clone(), read(name))).collect()
}

fn everything() -> (BTreeSet<String>, Vec<Row>, Vec<Decision>) {
    let files = tree();
    let decided = pages(&files)
        .iter()
        .flat_map(|(name, text)| decisions(name, text))
        .collect();
    (files, rows(&read("DESIGN.md")), decided)
}

#[test]
fn the_table_and_the_pages_agree() {
    let (_, rows, decisions) = everything();
    assert!(
        rows.len() > 120,
        "only {} rows: has the form of the table changed?",
        rows.len()
    );
    let wrong = disagreements(&rows, &decisions);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_cited_is_in_force() {
    let (files, _, decisions) = everything();
    // History: what was replaced may be told.
    let history =
        |name: &str| name.starts_with("docs/design/") || name == "DESIGN.md" || name == "CHANGELOG.md";
    // Its examples are broken on purpose.
    let ours = |name: &str| name == "tests/tests/design.rs";
    let citing = files
        .iter()
        .filter(|name| !name.ends_with('/') && !history(name) && !ours(name));
    let wrong: Vec<String> = citing
        .flat_map(|name| stale(name, &read(name), &decisions))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // And within the pages nothing is cited that does not exist.
    for decision in &decisions {
        for id in cited(&decision.text) {
            assert!(
                decisions.iter().any(|other| other.id == id),
                "D-{} cites D-{id}",
                decision.id
            );
        }
    }
}

#[test]
fn every_file_named_exists() {
    let (files, rows, _) = everything();
    let mut wrong = missing("DESIGN.md", &read("DESIGN.md"), &files);
    for (name, text) in pages(&files) {
        wrong.extend(missing(&name, &text, &files));
    }
    // So do the pages that show contributors around.
    let guides = files
        .iter()
        .filter(|name| GUIDES.contains(&name.as_str()) || is_front_page(name));
    for name in guides {
        wrong.extend(missing(name, &read(name), &files));
    }
    // The table's last column has whole paths.
    for row in rows {
        let lacking = row.places.iter().filter(|place| !files.contains(*place));
        wrong.extend(lacking.map(|place| format!("D-{}: {place} is not there", row.id)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The picture of a boot is drawn in three places, for those who come in by each of them.
#[test]
fn the_steps_of_a_boot_are_the_same_wherever_they_are_listed() {
    let (library, program) = (read("boot/src/lib.rs"), read("kernel/src/main.rs"));
    let first = library.lines().next().unwrap_or_default();
    let line = first.strip_prefix("//! ").unwrap_or_default();
    assert!(line.starts_with("entry → ") && line.ends_with(" jump"), "{first}");
    assert_eq!(program.lines().next(), Some(first));
    assert!(
        read("DESIGN.md").lines().any(|text| text.trim_start() == line),
        "DESIGN.md draws another picture"
    );
}

/// The firmware's own files lead to their decisions: the table names those that cite them.
#[test]
fn the_firmware_cites_what_the_table_says_it_obeys() {
    let (_, rows, _) = everything();
    let firmware = |place: &str| place.starts_with("boot/src/") || place.starts_with("kernel/src/");
    let mut wrong = Vec::new();
    for row in rows {
        for place in row.places.iter().filter(|place| firmware(place)) {
            if !cited(&read(place)).contains(&row.id) {
                wrong.push(format!("{place} does not say that it obeys D-{}", row.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the table of security.md names in its last column are tests that exist, and each row names one, or says "the same".
#[test]
fn each_row_of_security_names_tests_that_exist() {
    let is_test = Regex::new(r"#\[test\]\s+fn (\w+)\(").expect("a pattern");
    let files = tree();
    let tests: BTreeSet<String> = files
        .iter()
        .filter(|name| name.ends_with(".rs"))
        .flat_map(|name| {
            let text = read(name);
            let names = is_test.captures_iter(&text).map(|found| found[1].to_owned());
            names.collect::<Vec<String>>()
        })
        .collect();
    let page = read("docs/src/security.md");
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| A stranger "))
        .collect();
    assert!(rows.len() > 15, "only {} rows: has the form changed?", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let last = row
            .trim_end_matches([' ', '|'])
            .rsplit(" | ")
            .next()
            .unwrap_or_default();
        let names: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !last.starts_with("the same") {
            wrong.push(format!("no test: {row}"));
        }
        let lacking = names.iter().filter(|name| !tests.contains(**name));
        wrong.extend(lacking.map(|name| format!("{name} is no test")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_wrong_is_noticed() {
    let page = "# A step\n\n## D-1\n\n*Replaced by D-3.*\n\n**One\nline.** Text.\n\n## D-2\n\n*Replaced in part by D-3: the\nrest.*\n\n\
                **Two.** Text.\n\n## D-3\n\n**Three.** As `a.rs`. Replaces D-1 and most of D-2. See D-2.\n";
    let table = "| [D-1](docs/design/a.md#d-1) | One line | replaced by D-3 |  |\n\
                 | [D-2](docs/design/a.md#d-2) | Two | in part replaced by D-3 | `boot/a.rs` |\n\
                 | [D-3](docs/design/a.md#d-3) | Three | in force | `boot/a.rs` |\n";
    let judge = |table: &str, page: &str| disagreements(&rows(table), &decisions("docs/design/a.md", page));
    assert_eq!(judge(table, page), Vec::<String>::new());
    for (instead, of) in [
        (
            "D-1](docs/design/a.md#d-1) | One",
            "D-1](docs/design/b.md#d-1) | One",
        ),
        ("| Two |", "| Too |"),
        ("| in part replaced by D-3 |", "| in force |"),
        ("| replaced by D-3 |", "| replaced by D-2 |"),
        ("| in force | `boot/a.rs` |", "| in force |  |"),
    ] {
        assert!(table.contains(instead));
        assert_eq!(judge(&table.replace(instead, of), page).len(), 1, "{of}");
    }
    for (instead, of) in [
        ("*Replaced by D-3.*\n\n", ""),
        ("by D-3: the", "by D-1: the"),
        ("by D-3.*", "by D-7.*"),
        ("## D-3\n", "## D-4\n"),
        ("## D-2\n", "## D-1\n"),
    ] {
        assert!(page.contains(instead));
        assert!(!judge(table, &page.replace(instead, of)).is_empty(), "{of}");
    }
    let shorter = table.lines().next().unwrap_or_default();
    assert_eq!(judge(shorter, page).len(), 2);

    let decided = decisions("a.md", page);
    assert_eq!(
        stale("x.rs", "// D-2, (D-3); 802.1D-1998", &decided),
        Vec::<String>::new()
    );
    assert_eq!(stale("x.rs", "// D-1 and D-9", &decided).len(), 2);

    let tree = BTreeSet::from(["boot/src/a.rs".to_owned(), "boot/".to_owned()]);
    assert_eq!(
        missing("m", "`a.rs`, `src/a.rs`, `boot/`, `a::b`, `menu.c32`", &tree),
        Vec::<String>::new()
    );
    assert_eq!(missing("m", "`b.rs`, `rc/a.rs`, `kernel/`", &tree).len(), 3);
}
