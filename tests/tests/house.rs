//! The imports of each crate, read from its sources: no circle of files, so that every file can be read after those it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tests::checkout::{root, sources};

/// The crates, by folder.
const CRATES: [&str; 4] = ["boot", "dryrun", "kernel", "xtask"];

// What Rust is made of, as far as paths go.

/// The words and signs of a source; `::` is one, and what quotes and comments hold is none.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or_default();
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let c = at(i);
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
        } else if c == 'r' && (at(i + 1) == '"' || at(i + 1) == '#' && matches!(at(i + 2), '"' | '#')) {
            let hashes = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
            i += hashes + 2;
            while i < chars.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                i += 1;
            }
            i += hashes + 1;
        } else if c == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
        } else if c == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            // A character; what has no second quote is a lifetime.
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else if c == '_' || c.is_alphanumeric() {
            let start = i;
            while at(i) == '_' || at(i).is_alphanumeric() {
                i += 1;
            }
            let word: String = chars[start..i].iter().collect();
            // The b of b"", b'' and br"" is a part of the quote.
            if !(matches!(word.as_str(), "b" | "c") && matches!(at(i), '"' | '\'')) {
                tokens.push(word);
            }
        } else {
            let len = if c == ':' && at(i + 1) == ':' { 2 } else { 1 };
            if !c.is_whitespace() {
                tokens.push(chars[i..i + len].iter().collect());
            }
            i += len;
        }
    }
    tokens
}

/// The index behind the bracket that closes the one at `open`.
fn behind(tokens: &[String], open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// The tokens without attributes, and without what is compiled for tests only.
fn shipped(tokens: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let inner = tokens[i] == "#" && tokens.get(i + 1).is_some_and(|t| t == "!");
        let open = if inner { i + 2 } else { i + 1 };
        if tokens[i] != "#" || tokens.get(open).is_none_or(|t| t != "[") {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let end = behind(tokens, open);
        let attribute = &tokens[open..end];
        i = end;
        let has = |word: &str| attribute.iter().any(|token| token == word);
        if !inner && attribute.get(1).is_some_and(|t| t == "cfg") && has("test") && !has("not") {
            // The item that follows ends with its first body, or with a semicolon.
            while i < tokens.len() && !matches!(tokens[i].as_str(), ";" | "{") {
                i = if matches!(tokens[i].as_str(), "(" | "[") {
                    behind(tokens, i)
                } else {
                    i + 1
                };
            }
            i = if tokens.get(i).is_some_and(|t| t == "{") {
                behind(tokens, i)
            } else {
                i + 1
            };
        }
    }
    kept
}

type Segments = Vec<String>;

/// A module: a file, or a part of one.
#[derive(Default)]
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names by the paths they were imported from.
    imports: BTreeMap<String, Segments>,
    /// Paths whose every name was imported.
    globs: Vec<Segments>,
    /// Paths that its code names.
    paths: BTreeSet<Segments>,
}

/// A crate: its modules, the first of which are roots.
struct House {
    name: String,
    modules: Vec<Module>,
    roots: Vec<usize>,
    /// With what is compiled for tests only.
    tests: bool,
}

impl House {
    /// Reads `folder`: all that its roots declare.
    fn read(folder: &Path, name: &str, tests: bool) -> Self {
        let mut house = Self {
            name: name.replace('-', "_"),
            modules: Vec::new(),
            roots: Vec::new(),
            tests,
        };
        for root in ["lib.rs", "main.rs"] {
            let file = folder.join("src").join(root);
            if file.exists() {
                let id = house.file(file, folder.join("src"), None);
                house.roots.push(id);
            }
        }
        assert!(!house.roots.is_empty(), "{} has no root", folder.display());
        house
    }

    fn file(&mut self, file: PathBuf, folder: PathBuf, parent: Option<usize>) -> usize {
        let source = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let all = tokens(&source);
        let tokens = if self.tests { all } else { shipped(&all) };
        self.module(file, folder, parent, &tokens)
    }

    /// Adds a module of these tokens whose children lie in `folder`.
    fn module(&mut self, file: PathBuf, folder: PathBuf, parent: Option<usize>, tokens: &[String]) -> usize {
        let id = self.modules.len();
        self.modules.push(Module {
            file: file.clone(),
            parent,
            ..Module::default()
        });
        let token = |i: usize| tokens.get(i).map_or("", String::as_str);
        let mut i = 0;
        while i < tokens.len() {
            if token(i) == "mod" && matches!(token(i + 2), ";" | "{") {
                let name = token(i + 1).to_owned();
                let below = folder.join(&name);
                let child = if token(i + 2) == ";" {
                    let flat = folder.join(format!("{name}.rs"));
                    let file = if flat.exists() { flat } else { below.join("mod.rs") };
                    i += 3;
                    self.file(file, below, Some(id))
                } else {
                    let end = behind(tokens, i + 2);
                    let inside = &tokens[i + 3..end - 1];
                    i = end;
                    self.module(file.clone(), below, Some(id), inside)
                };
                self.modules[id].children.insert(name, child);
            } else if token(i) == "use" {
                let end = i + tokens[i..]
                    .iter()
                    .position(|t| t == ";")
                    .expect("the end of a use");
                self.import(id, Vec::new(), &tokens[i + 1..end]);
                i = end;
            } else if token(i + 1) == "::" && token(i).starts_with(|c: char| c == '_' || c.is_alphabetic()) {
                let mut path = vec![token(i).to_owned()];
                i += 1;
                while token(i) == "::" && token(i + 1).starts_with(|c: char| c == '_' || c.is_alphabetic()) {
                    path.push(token(i + 1).to_owned());
                    i += 2;
                }
                // The rest of `Vec::<u8>::new` says nothing more.
                i += 1;
                self.modules[id].paths.insert(path);
            } else if token(i) == "::" {
                // `::log`, and what follows generics.
                i += 2;
            } else {
                i += 1;
            }
        }
        id
    }

    /// Takes in one tree of a `use`.
    fn import(&mut self, id: usize, mut path: Segments, tokens: &[String]) {
        let mut i = 0;
        while i < tokens.len() {
            match tokens[i].as_str() {
                "::" => i += 1,
                "{" => {
                    let end = behind(tokens, i);
                    let mut start = i + 1;
                    let mut j = start;
                    while j < end {
                        match tokens[j].as_str() {
                            "{" => j = behind(tokens, j),
                            "," | "}" => {
                                self.import(id, path.clone(), &tokens[start..j]);
                                j += 1;
                                start = j;
                            }
                            _ => j += 1,
                        }
                    }
                    return;
                }
                "*" => {
                    self.modules[id].globs.push(path);
                    return;
                }
                "as" => {
                    let name = tokens[i + 1].clone();
                    self.modules[id].imports.insert(name, path);
                    return;
                }
                // In braces it is what stands before them.
                "self" if !path.is_empty() => i += 1,
                word => {
                    path.push(word.to_owned());
                    i += 1;
                }
            }
        }
        if let Some(name) = path.last().cloned() {
            self.modules[id].imports.insert(name, path);
        }
    }

    /// The module that defines what `path` names, seen from the module `from`, and whether it is that module itself; none for
    /// other crates and for local names.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<(usize, bool)> {
        // Two modules that import all of each other.
        if depth > 32 {
            return None;
        }
        let (head, mut rest) = path.split_first()?;
        let mut module = match head.as_str() {
            "crate" => self.root_of(from),
            "self" => from,
            "super" => self.modules[from].parent?,
            name if self.name == name && from != self.roots[0] => self.roots[0],
            name => {
                let (module, whole) = self.named(from, name, depth)?;
                if !whole {
                    return Some((module, false));
                }
                module
            }
        };
        while let Some((name, further)) = rest.split_first() {
            rest = further;
            if name == "super" {
                module = self.modules[module].parent?;
                continue;
            }
            match self.named(module, name, depth) {
                Some((found, true)) => module = found,
                Some((found, false)) => return Some((found, false)),
                None => return Some((module, false)),
            }
        }
        Some((module, true))
    }

    /// What `name` is in a module that declares or imports it.
    fn named(&self, module: usize, name: &str, depth: usize) -> Option<(usize, bool)> {
        if let Some(&child) = self.modules[module].children.get(name) {
            return Some((child, true));
        }
        if let Some(path) = self.modules[module].imports.get(name) {
            // `use log::Log`, where `log` is another crate.
            let foreign = path.len() > 1 && path[0] == name;
            return if foreign {
                None
            } else {
                self.resolve(module, path, depth + 1)
            };
        }
        None
    }

    fn root_of(&self, mut module: usize) -> usize {
        while let Some(parent) = self.modules[module].parent {
            module = parent;
        }
        module
    }

    /// The files that each file imports from, with the names that it imports.
    fn imports(&self, root: &Path) -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
        let shown = |module: usize| {
            let file = &self.modules[module].file;
            file.strip_prefix(root).unwrap_or(file).display().to_string()
        };
        let mut graph: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
        for (id, module) in self.modules.iter().enumerate() {
            let from = graph.entry(shown(id)).or_default();
            // A module that is imported whole is used by the paths that begin with it.
            let named = module.imports.values().chain(&module.paths);
            let named = named.filter_map(|path| match self.resolve(id, path, 0)? {
                (found, false) => Some((found, path.clone())),
                (_, true) => None,
            });
            let globs = module.globs.iter().filter_map(|path| {
                let (found, _) = self.resolve(id, path, 0)?;
                Some((found, [path.as_slice(), &["*".to_owned()]].concat()))
            });
            for (found, path) in named.chain(globs) {
                if self.modules[found].file != module.file {
                    from.entry(shown(found)).or_default().insert(path.join("::"));
                }
            }
        }
        graph
    }
}

type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// All that can be reached from `from` by at least one import.
fn reached<'g>(graph: &'g Graph, from: &str) -> BTreeSet<&'g str> {
    let mut reached = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for next in graph.get(node).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    reached
}

/// The circles: sets of files each of which leads to all the others.
fn circles(graph: &Graph) -> Vec<Vec<&str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> = graph
        .keys()
        .map(|node| (node.as_str(), reached(graph, node)))
        .collect();
    let mut circles: Vec<Vec<&str>> = Vec::new();
    for (&node, others) in &reach {
        if others.contains(node) && !circles.iter().any(|circle| circle.contains(&node)) {
            let round = others.iter().filter(|other| reach[*other].contains(node));
            circles.push(round.copied().collect());
        }
    }
    circles
}

/// A circle as a person unties it: who imports what from whom.
fn told(graph: &Graph, circle: &[&str]) -> String {
    let mut told = format!("a circle of {} files: {}\n", circle.len(), circle.join(", "));
    for &from in circle {
        for (to, names) in &graph[from] {
            if circle.contains(&to.as_str()) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                told += &format!("    {from} → {to}: {}\n", names.join(", "));
            }
        }
    }
    told
}

fn graph(name: &str) -> Graph {
    House::read(&root().join(name), name, false).imports(&root())
}

#[test]
fn no_imports_go_round_in_a_circle() {
    let mut wrong = String::new();
    for name in CRATES {
        let graph = graph(name);
        for circle in &circles(&graph) {
            wrong += &format!("{name}: {}", told(&graph, circle));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_file_is_read() {
    // A file that no root declares, or a declaration that this page does not understand, would hide its imports.
    for name in CRATES {
        let house = House::read(&root().join(name), name, true);
        let read: BTreeSet<&Path> = house.modules.iter().map(|module| module.file.as_path()).collect();
        for path in sources(&root().join(name).join("src")) {
            assert!(
                read.contains(path.as_path()),
                "{} is not a module of {name}",
                path.display()
            );
        }
    }
}

/// A crate of these files, in a folder of its own.
fn written(name: &str, files: &[(&str, &str)]) -> (PathBuf, Graph) {
    let folder = std::env::temp_dir().join(format!("house-{name}-{}", std::process::id()));
    for (path, text) in files {
        let path = folder.join("src").join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let graph = House::read(&folder, name, false).imports(&folder);
    fs::remove_dir_all(&folder).expect("the folder is gone");
    (folder, graph)
}

#[test]
fn a_circle_is_seen_through_re_exports_and_whole_modules() {
    let lib = "mod a; mod b; pub use b::B;";
    // By a re-export of the root, by a module's name, by `super` and by a path in code.
    for a in [
        "use crate::B; pub struct A;",
        "use crate::b; pub struct A(b::B);",
        "use super::{b::{self as c}}; pub struct A; fn f() -> c::B { loop {} }",
        "pub struct A; fn f() -> crate::b::B { loop {} }",
        "pub mod inner { fn f() -> super::super::b::B { loop {} } } pub struct A;",
    ] {
        let (_, graph) = written(
            "through",
            &[
                ("lib.rs", lib),
                ("a.rs", a),
                ("b.rs", "pub struct B(crate::a::A);"),
            ],
        );
        assert_eq!(circles(&graph), [["src/a.rs", "src/b.rs"]], "{a}");
    }
}

#[test]
fn what_tests_and_quotes_and_comments_name_is_no_import() {
    let b = "pub struct B(crate::a::A);";
    for a in [
        "pub struct A; // crate::b::B",
        "pub struct A; /* /* */ use crate::b::B; */",
        "pub struct A; const T: &str = \"use crate::b::B; \\\" \";",
        "pub struct A; const T: &str = r#\"crate::b::B \" \"#;",
        "pub struct A; const T: char = '\"'; const U: u8 = b'\\''; fn f<'a>(_: &'a u8) {}",
        "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }",
        "pub struct A; #[cfg(test)] use crate::b::B;",
        "pub struct A; #[cfg(test)] pub(crate) fn f() -> crate::b::B { loop {} }",
        "use b::other; pub struct A;",
    ] {
        let (_, graph) = written("quoted", &[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]);
        assert_eq!(circles(&graph), [[""; 0]; 0], "{a}");
    }
    let a = "pub struct A; #[cfg(not(test))] use crate::b::B;";
    let (_, graph) = written("not", &[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)]);
    assert_eq!(circles(&graph).len(), 1);
}

#[test]
fn a_binary_beside_a_library_is_above_it() {
    let files = |lib: &'static str| {
        [
            ("lib.rs", lib),
            ("main.rs", "mod start; fn main() { both::a::f(start::g()) }"),
            ("a.rs", "pub fn f(_: ()) {}"),
            ("start.rs", "use both::a; pub fn g() { a::f(()) }"),
        ]
    };
    let (_, graph) = written("both", &files("pub mod a;"));
    assert_eq!(circles(&graph), [[""; 0]; 0]);
    assert!(graph["src/main.rs"].contains_key("src/a.rs"));
    assert!(graph["src/start.rs"].contains_key("src/a.rs"));
}

/// Durations of a second and more that a source spells out in numbers, in seconds, but for tests.
fn patiences(source: &str) -> Vec<f64> {
    let tokens = shipped(&tokens(source));
    let per_second = |unit: &str| match unit {
        "from_secs" => Some(1.0),
        "from_millis" => Some(1000.0),
        "from_micros" => Some(1_000_000.0),
        _ => None,
    };
    let number = |token: &String| token.replace('_', "").parse::<f64>().ok();
    let calls = tokens.windows(4).enumerate().filter_map(|(i, call)| {
        let per_second = per_second(&call[2])?;
        if call[0] != "Duration" || call[1] != "::" || call[3] != "(" {
            return None;
        }
        let arguments = &tokens[i + 4..behind(&tokens, i + 3) - 1];
        // A product of numbers; what names anything comes from elsewhere.
        let product = arguments
            .iter()
            .filter(|token| *token != "*")
            .map(number)
            .product::<Option<f64>>()?;
        (product >= per_second).then_some(product / per_second)
    });
    calls.collect()
}

#[test]
fn a_patience_is_seen_however_it_is_written() {
    assert_eq!(
        patiences("const A: Duration = Duration::from_secs(2 * 60);"),
        [120.0]
    );
    assert_eq!(
        patiences("const P: Pace = Pace {\n bytes: 1,\n window: Duration::from_millis(1_500),\n};"),
        [1.5]
    );
    assert_eq!(
        patiences("fn f(s: u64) { g(Duration::from_secs(s), Duration::from_millis(999)) }"),
        []
    );
    assert_eq!(
        patiences("#[cfg(test)]\nmod tests { const A: Duration = Duration::from_secs(2); }"),
        []
    );
}

#[test]
fn every_patience_of_a_second_and_more_stands_in_one_table() {
    // What a driver grants its chip is no patience of the node (D-168).
    const CHIP: f64 = 5.0;
    let mut elsewhere = Vec::new();
    let mut table = 0;
    for (folder, least) in [("boot/src", 1.0), ("kernel/src", CHIP + 0.001)] {
        let sources = sources(&root().join(folder));
        for path in sources.iter().filter(|path| !path.ends_with("tests.rs")) {
            let patiences = patiences(&fs::read_to_string(path).expect("a source"));
            if path.ends_with("boot/src/patience.rs") {
                table = patiences.len();
                continue;
            }
            let long = patiences.iter().filter(|seconds| **seconds >= least);
            elsewhere.extend(long.map(|seconds| format!("{}: {seconds} s", path.display())));
        }
    }
    assert!(elsewhere.is_empty(), "{}", elsewhere.join("\n"));
    assert!(table > 35, "only {table} in the table");
}
