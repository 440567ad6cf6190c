//! A source with switches: at each point that was chosen, what is written and the mutation, of which a run takes one.

use std::ops::Range;

use crate::campaign::points::{Point, SWITCH};

/// `source` with the numbered points in it, in their order; `question` is how that crate asks (`crate::mutant::active`). Also where each
/// lies in the result, what holds others before them.
pub(crate) fn switched(
    source: &str,
    points: &[(u32, &Point)],
    question: &str,
) -> (String, Vec<(u32, Range<usize>)>) {
    let mut writer = Writer {
        source,
        question,
        text: String::new(),
        at: 0,
        places: Vec::new(),
    };
    writer.write(points, source.len());
    (writer.text, writer.places)
}

struct Writer<'s> {
    source: &'s str,
    question: &'s str,
    text: String,
    /// How far the source is written.
    at: usize,
    places: Vec<(u32, Range<usize>)>,
}

impl Writer<'_> {
    /// Writes up to `end`, with all the points that lie before it.
    fn write(&mut self, mut points: &[(u32, &Point)], end: usize) {
        while let Some(((number, point), rest)) = points.split_first() {
            self.copy(point.range.start);
            let asked = format!("{}({number})", self.question);
            let (place, start) = (self.places.len(), self.text.len());
            self.places.push((*number, start..start));
            self.text.push_str(&point.before.replace(SWITCH, &asked));
            let inside = rest
                .iter()
                .take_while(|(_, inner)| {
                    inner.range.end <= point.range.end && inner.range.start < point.range.end
                })
                .count();
            let (inner, behind) = rest.split_at(inside);
            self.write(inner, point.range.end);
            self.text.push_str(&point.after.replace(SWITCH, &asked));
            if let Some((_, range)) = self.places.get_mut(place) {
                range.end = self.text.len();
            }
            points = behind;
        }
        self.copy(end);
    }

    fn copy(&mut self, end: usize) {
        self.text
            .push_str(self.source.get(self.at..end).unwrap_or_default());
        self.at = end;
    }
}

#[cfg(test)]
mod tests {
    use crate::campaign::points::points;

    use super::*;

    /// The body of a function, with a switch at every point, and what each is.
    fn all(body: &str) -> (String, Vec<String>) {
        let source = format!("fn f() -> char {{\n{body}\n}}\n");
        let (points, _) = points(&source).expect("Rust");
        let numbered: Vec<_> = (0_u32..).zip(&points).collect();
        let (text, places) = switched(&source, &numbered, "on");
        // What comes out is Rust, and its places are whole.
        syn::parse_file(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(places.len(), points.len());
        for (number, range) in &places {
            assert!(text[range.clone()].contains(&format!("on({number})")), "{text}");
        }
        let text = text
            .trim_start_matches("fn f() -> char {\n")
            .trim_end_matches("\n}\n");
        (
            text.to_owned(),
            points.into_iter().map(|point| point.what).collect(),
        )
    }

    #[test]
    fn each_kind_of_mutation_is_written_behind_its_switch() {
        for (body, switched) in [
            ("a == b", "((a == b) != on(0))"),
            ("a < b", "(if on(0) { (a) <= (b) } else { ((a < b) != on(1)) })"),
            ("a + b", "(if on(0) { (a) - (b) } else { a + b })"),
            ("!a", "(if on(0) { (a) } else { !a })"),
            ("a.min(b)", "(if on(0) { a.max(b) } else { a.min(b) })"),
            ("a.is_some()", "((a.is_some()) != on(0))"),
            ("go(1);", "if !on(0) { go((if on(1) { 2 } else { 1 })); }"),
            (
                "a = 0x10u8;",
                "if !on(0) { a = (if on(1) { 17u8 } else { 0x10u8 }); }",
            ),
            (
                "a += b;",
                "if !on(0) { (if on(1) { a -= (b) } else { a += b }); }",
            ),
            ("return;", "if !on(0) { return; }"),
            ("if a { b }", "if ((on(1) || (a))) && !on(0) { b }"),
            ("if let Some(a) = b { c }", "if let Some(a) = b && !on(0) { c }"),
            ("while a { b }", "while (a) && !on(0) { b }"),
            (
                "match a { B => c, _ => d }",
                "match a { B if !on(0) => c, _ => d }",
            ),
            (
                "a::MAX",
                "(if on(0) { a::MAX + 1 } else { (if on(1) { a::MAX * 2 } else { a::MAX }) })",
            ),
        ] {
            assert_eq!(all(body).0, switched);
        }
    }

    #[test]
    fn mutations_in_mutations_keep_all_switches() {
        let (text, what) = all("if a.len() + 1 > b && !c { d(e.first()); }");
        assert_eq!(what.len(), 10, "{what:#?}");
        for number in 0..10 {
            assert!(text.contains(&format!("on({number})")), "{number}: {text}");
        }
    }

    #[test]
    fn what_is_computed_by_the_compiler_or_is_elsewhere_stays() {
        for source in [
            "const A: u8 = 1 + 2;",
            "const fn f() -> u8 { 1 + 2 }",
            "fn f(a: [u8; 4 + 1]) -> A { [b; 8 + 1] }",
            "#[cfg(test)] fn f() { g(1); }",
            "#[cfg(target_os = \"none\")] fn f() { g(1); }",
            "#[cfg(not(not(feature = \"defmt\")))] fn f() { g(1); }",
            "#[cfg(any(test, fuzzing))] fn f() { g(1); }",
            "impl fmt::Display for A { fn fmt(&self) { g(1); } }",
            "impl A { const B: u8 = 1 + 2; }",
            "fn f() -> A { log!(1 + 2) }",
            "fn f() -> A { #[cfg(fuzzing)] g(1); #[cfg(fuzzing)] let a = 1; b }",
        ] {
            assert_eq!(points(source).expect("Rust").0, Vec::new(), "{source}");
        }
        let (points, absent) = points("mod a; #[cfg(test)] mod b; #[cfg(not(test))] mod c;").expect("Rust");
        assert_eq!((points.len(), absent), (0, vec!["b".to_owned()]));
    }

    #[test]
    fn a_function_that_returns_at_once_returns_what_its_type_allows() {
        for (source, count) in [
            ("fn f() { a }", 1),
            ("fn f() -> bool { a }", 1),
            ("fn f() -> Option<A> { a }", 1),
            ("fn f() -> Result<(), A> { a }", 1),
            ("fn f() -> A { a }", 0),
            ("fn f() {}", 0),
        ] {
            let (points, _) = points(source).expect("Rust");
            assert_eq!(points.len(), count, "{source}");
            let numbered: Vec<_> = (7_u32..).zip(&points).collect();
            let (text, _) = switched(source, &numbered, "on");
            assert_eq!(text.contains("{ if on(7) { return "), count == 1, "{text}");
        }
    }

    #[test]
    fn places_are_where_the_switches_are() {
        let source = "fn f() -> A {\n    a + b;\n    c - d;\n}\n";
        let (points, _) = points(source).expect("Rust");
        let chosen: Vec<_> = points.iter().filter(|point| point.line == 3).collect();
        let numbered: Vec<_> = (40_u32..).zip(chosen).collect();
        let (text, places) = switched(source, &numbered, "on");
        assert!(text.starts_with("fn f() -> A {\n    a + b;\n"), "{text}");
        assert_eq!(
            places.iter().map(|(number, _)| *number).collect::<Vec<_>>(),
            [40, 41]
        );
        assert_eq!(
            &text[places[1].1.clone()],
            "(if on(41) { (c) + (d) } else { c - d })"
        );
    }
}
