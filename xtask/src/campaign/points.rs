//! Where a source can be wrong in one small way, and how: the mutations of a file, each as text around what it changes.

use std::ops::Range;

use anyhow::{Context, Result};
use proc_macro2::TokenStream;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, BinOp, Block, Expr, Meta, Pat, ReturnType, Stmt, Type};

/// Stands in a [`Point`]'s text for the question whether it is on.
pub(crate) const SWITCH: &str = "\u{1}";

/// One mutation: what is at `range` gets `before` and `after` around it, so that it is as ever while the switch is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    /// From 1.
    pub(crate) line: usize,
    /// The function that it is in.
    pub(crate) function: String,
    /// What is different, and in what, in a line.
    pub(crate) what: String,
    pub(crate) range: Range<usize>,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// All mutations of a source that a host compiles, in its order, and the modules that it compiles only elsewhere or for tests.
pub(crate) fn points(source: &str) -> Result<(Vec<Point>, Vec<String>)> {
    let file = syn::parse_file(source).context("not Rust")?;
    let mut finder = Finder {
        source,
        function: String::new(),
        points: Vec::new(),
        absent: Vec::new(),
    };
    finder.visit_file(&file);
    // What holds another comes first.
    finder
        .points
        .sort_by_key(|point| (point.range.start, usize::MAX - point.range.end));
    Ok((finder.points, finder.absent))
}

struct Finder<'s> {
    source: &'s str,
    function: String,
    points: Vec<Point>,
    absent: Vec<String>,
}

/// Methods that are taken for each other; one way each.
const METHODS: [(&str, &str); 20] = [
    ("min", "max"),
    ("max", "min"),
    ("saturating_add", "saturating_sub"),
    ("saturating_sub", "saturating_add"),
    ("checked_add", "checked_sub"),
    ("checked_sub", "checked_add"),
    ("wrapping_add", "wrapping_sub"),
    ("wrapping_sub", "wrapping_add"),
    ("saturating_mul", "saturating_add"),
    ("is_some_and", "is_none_or"),
    ("is_none_or", "is_some_and"),
    ("any", "all"),
    ("all", "any"),
    ("starts_with", "ends_with"),
    ("ends_with", "starts_with"),
    ("first", "last"),
    ("last", "first"),
    ("next", "last"),
    ("next_back", "next"),
    ("rsplit", "split"),
];

/// Methods whose answer is turned round.
const ANSWERS: [&str; 6] = ["is_some", "is_none", "is_ok", "is_err", "is_empty", "contains"];

/// Operators that are taken for each other; one way each. `==` and its like are turned round instead.
const OPERATORS: [(&str, &str); 22] = [
    ("<", "<="),
    ("<=", "<"),
    (">", ">="),
    (">=", ">"),
    ("&&", "||"),
    ("||", "&&"),
    ("+", "-"),
    ("-", "+"),
    ("*", "/"),
    ("/", "*"),
    ("%", "*"),
    ("<<", ">>"),
    (">>", "<<"),
    ("&", "|"),
    ("|", "&"),
    ("^", "|"),
    ("+=", "-="),
    ("-=", "+="),
    ("*=", "+="),
    ("/=", "*="),
    ("|=", "&="),
    ("&=", "|="),
];

impl Finder<'_> {
    fn text(&self, node: &impl Spanned) -> &str {
        self.source.get(node.span().byte_range()).unwrap_or_default()
    }

    /// What a reader is shown of a node: one line, cut.
    fn shown(&self, node: &impl Spanned) -> String {
        let words: Vec<&str> = self.text(node).split_whitespace().collect();
        let line = words.join(" ");
        match line.char_indices().nth(110) {
            Some((at, _)) => format!("{}...", line.get(..at).unwrap_or_default()),
            None => line,
        }
    }

    fn add(&mut self, range: Range<usize>, what: String, before: &str, after: &str) {
        let above = self.source.get(..range.start).unwrap_or_default();
        self.points.push(Point {
            line: above.matches('\n').count() + 1,
            function: self.function.clone(),
            what,
            range,
            before: before.to_owned(),
            after: after.to_owned(),
        });
    }

    /// `other` in place of an expression.
    fn replace(&mut self, node: &impl Spanned, what: &str, other: &str) {
        let what = format!("{what} in `{}`", self.shown(node));
        let before = format!("(if {SWITCH} {{ {other} }} else {{ ");
        self.add(node.span().byte_range(), what, &before, " })");
    }

    /// An expression that is true turns false, and the other way.
    fn turn(&mut self, node: &impl Spanned, what: &str) {
        let what = format!("{what} in `{}`", self.shown(node));
        self.add(node.span().byte_range(), what, "((", &format!(") != {SWITCH})"));
    }

    /// A condition that never holds, and, where it binds nothing, one that always does.
    fn condition(&mut self, condition: &Expr, name: &str, always: bool) {
        let range = condition.span().byte_range();
        let shown = self.shown(condition);
        let never = format!("{name} never taken: `{shown}`");
        if binds(condition) {
            self.add(range, never, "", &format!(" && !{SWITCH}"));
            return;
        }
        self.add(range.clone(), never, "(", &format!(") && !{SWITCH}"));
        if always {
            self.add(
                range,
                format!("{name} always taken: `{shown}`"),
                &format!("({SWITCH} || ("),
                "))",
            );
        }
    }

    /// A function that returns at once, where its type says with what.
    fn body(&mut self, name: &str, output: &ReturnType, block: &Block) {
        let value = match output {
            ReturnType::Default => "",
            ReturnType::Type(_, kind) => {
                let kind: String = self.text(kind).split_whitespace().collect();
                match kind.as_str() {
                    "bool" => "false",
                    "usize" | "u8" | "u16" | "u32" | "u64" => "0",
                    _ if kind.starts_with("Option<") => "None",
                    _ if kind.starts_with("Result<(),") || kind == "Result<()>" => "Ok(())",
                    _ => return,
                }
            }
        };
        if block.stmts.is_empty() {
            return;
        }
        let at = block.brace_token.span.open().byte_range().end;
        let shown = if value.is_empty() { "()" } else { value };
        self.add(
            at..at,
            format!("fn {name} returns {shown} at once"),
            "",
            &format!(" if {SWITCH} {{ return {value}; }}"),
        );
    }

    /// Runs `inside` for what is in a function.
    fn within(&mut self, name: String, inside: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.function, name);
        inside(self);
        self.function = outer;
    }
}

/// Whether a condition has a `let` of its own.
fn binds(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) => binds(&binary.left) || binds(&binary.right),
        _ => false,
    }
}

/// Whether what has these attributes is compiled into a library on a host.
fn is_here(attributes: &[Attribute]) -> bool {
    attributes.iter().all(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => holds(list.tokens.clone()),
        Meta::Path(path) => !path.is_ident("test"),
        _ => true,
    })
}

/// A `cfg` of a host's library without features.
fn holds(predicate: TokenStream) -> bool {
    let text = predicate.to_string();
    let text = text.trim();
    for (name, of) in [("not", 0), ("all", 1), ("any", 2)] {
        let Some(inner) = text.strip_prefix(name).map(str::trim_start) else {
            continue;
        };
        let Some(inner) = inner.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) else {
            continue;
        };
        let mut parts = inner
            .split(',')
            .map(|part| part.parse().map(holds).unwrap_or(false));
        return match of {
            0 => !parts.all(|part| part),
            1 => parts.all(|part| part),
            _ => parts.any(|part| part),
        };
    }
    !(text == "test" || text == "fuzzing" || text.starts_with("feature") || text.contains("\"none\""))
}

/// Whether a pattern takes all that is left.
fn takes_all(pattern: &Pat) -> bool {
    match pattern {
        Pat::Wild(_) => true,
        Pat::Ident(name) => name.subpat.is_none() && name.ident.to_string().starts_with(char::is_lowercase),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Trait(item) => &item.attrs,
            // Nothing else runs.
            _ => return,
        };
        if is_here(attributes) {
            visit::visit_item(self, item);
        } else if let Item::Mod(item) = item {
            self.absent.push(item.ident.to_string());
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let kind = item.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        // What is shown of a thing is a text, and few texts are promises.
        if kind.is_none_or(|kind| kind.ident != "Display" && kind.ident != "Debug") {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if item.sig.constness.is_none() {
            let name = item.sig.ident.to_string();
            self.within(name.clone(), |finder| {
                finder.body(&name, &item.sig.output, &item.block);
                finder.visit_block(&item.block);
            });
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if item.sig.constness.is_none() && is_here(&item.attrs) {
            let name = item.sig.ident.to_string();
            self.within(name.clone(), |finder| {
                finder.body(&name, &item.sig.output, &item.block);
                finder.visit_block(&item.block);
            });
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = item.default.as_ref().filter(|_| is_here(&item.attrs)) {
            self.within(item.sig.ident.to_string(), |finder| finder.visit_block(block));
        }
    }

    // Constants are computed before there is a switch, and so are the lengths in types.
    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}
    fn visit_trait_item_const(&mut self, _: &'ast syn::TraitItemConst) {}
    fn visit_expr_const(&mut self, _: &'ast syn::ExprConst) {}
    fn visit_type(&mut self, _: &'ast Type) {}
    fn visit_generic_argument(&mut self, _: &'ast syn::GenericArgument) {}
    fn visit_pat(&mut self, _: &'ast Pat) {}
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        if let Stmt::Local(local) = statement
            && !is_here(&local.attrs)
        {
            return;
        }
        if let Stmt::Expr(expression, Some(_)) = statement {
            let (attributes, acts) = match expression {
                Expr::Call(it) => (&it.attrs, true),
                Expr::MethodCall(it) => (&it.attrs, true),
                Expr::Assign(it) => (&it.attrs, true),
                Expr::Try(it) => (&it.attrs, true),
                Expr::Return(it) => (&it.attrs, true),
                Expr::Break(it) => (&it.attrs, true),
                Expr::Continue(it) => (&it.attrs, true),
                Expr::Binary(it) => (&it.attrs, true),
                Expr::Block(it) => (&it.attrs, false),
                Expr::If(it) => (&it.attrs, false),
                Expr::Unsafe(it) => (&it.attrs, false),
                _ => return visit::visit_stmt(self, statement),
            };
            if !is_here(attributes) {
                return;
            }
            if acts {
                let what = format!("statement dropped: `{}`", self.shown(statement));
                let range = statement.span().byte_range();
                self.add(range, what, &format!("if !{SWITCH} {{ "), " }");
            }
        }
        if let Stmt::Expr(Expr::Block(block), None) = statement
            && !is_here(&block.attrs)
        {
            return;
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        match expression {
            // What is written to is no value.
            Expr::Assign(assign) => return self.visit_expr(&assign.right),
            Expr::Binary(binary) => {
                let (left, right) = (self.text(&binary.left), self.text(&binary.right));
                let operator = self.text(&binary.op).to_owned();
                let other = OPERATORS.iter().find(|(name, _)| *name == operator);
                if let Some((_, other)) = other.filter(|_| !binds(expression)) {
                    let changed = format!("({left}) {other} ({right})");
                    // An assignment's left side stays a place.
                    let changed = if other.ends_with('=') && !matches!(*other, "<=" | ">=") {
                        format!("{left} {other} ({right})")
                    } else {
                        changed
                    };
                    self.replace(expression, &format!("`{operator}` -> `{other}`"), &changed);
                }
                if let Some(other) = match binary.op {
                    BinOp::Eq(_) => Some("!="),
                    BinOp::Ne(_) => Some("=="),
                    BinOp::Lt(_) => Some(">="),
                    BinOp::Le(_) => Some(">"),
                    BinOp::Gt(_) => Some("<="),
                    BinOp::Ge(_) => Some("<"),
                    _ => None,
                } {
                    self.turn(expression, &format!("`{operator}` -> `{other}`"));
                }
                if operator.ends_with('=') && !matches!(operator.as_str(), "==" | "!=" | "<=" | ">=") {
                    return self.visit_expr(&binary.right);
                }
            }
            Expr::Unary(unary) if matches!(unary.op, syn::UnOp::Not(_)) => {
                let inner = format!("({})", self.text(&unary.expr));
                self.replace(expression, "`!` dropped", &inner);
            }
            Expr::MethodCall(call) => {
                let name = call.method.to_string();
                if ANSWERS.contains(&name.as_str()) {
                    self.turn(expression, &format!(".{name} turned round"));
                }
                if let Some((_, other)) = METHODS.iter().find(|(from, _)| *from == name) {
                    let (whole, at) = (expression.span().byte_range(), call.method.span().byte_range());
                    let changed = self
                        .source
                        .get(whole.start..at.start)
                        .zip(self.source.get(at.end..whole.end));
                    if let Some((head, tail)) = changed {
                        let changed = format!("{head}{other}{tail}");
                        self.replace(expression, &format!(".{name} -> .{other}"), &changed);
                    }
                }
            }
            Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Int(int) => {
                    if let Some(next) = int
                        .base10_parse::<u64>()
                        .ok()
                        .and_then(|value| value.checked_add(1))
                    {
                        let changed = format!("{next}{}", int.suffix());
                        self.replace(expression, &format!("literal {int} -> {next}"), &changed);
                    }
                }
                syn::Lit::Bool(_) => self.turn(expression, "literal turned round"),
                _ => {}
            },
            Expr::Path(path) => {
                let name = path.path.segments.last().map(|last| last.ident.to_string());
                let name = name.unwrap_or_default();
                let is_constant = name.len() > 1
                    && name.starts_with(|c: char| c.is_ascii_uppercase())
                    && !name.contains(|c: char| c.is_ascii_lowercase());
                if is_constant {
                    let text = self.text(path).to_owned();
                    self.replace(expression, &format!("const {name} + 1"), &format!("{text} + 1"));
                    self.replace(expression, &format!("const {name} * 2"), &format!("{text} * 2"));
                }
            }
            Expr::If(choice) => {
                let name = if binds(&choice.cond) { "if let" } else { "if" };
                self.condition(&choice.cond, name, true);
            }
            Expr::While(repeated) => self.condition(&repeated.cond, "while", false),
            Expr::Match(choice) => {
                let rest = choice
                    .arms
                    .last()
                    .is_some_and(|arm| takes_all(&arm.pat) && arm.guard.is_none());
                for arm in &choice.arms {
                    if let Some((_, guard)) = &arm.guard {
                        self.condition(guard, "match guard", true);
                    } else if rest && !takes_all(&arm.pat) && is_here(&arm.attrs) {
                        let what = format!("match arm dropped: `{}`", self.shown(&arm.pat));
                        self.add(arm.pat.span().byte_range(), what, "", &format!(" if !{SWITCH}"));
                    }
                }
            }
            _ => {}
        }
        visit::visit_expr(self, expression);
    }

    // A function that is called is no value to change, and its name may be in capitals.
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if !matches!(&*call.func, Expr::Path(_)) {
            self.visit_expr(&call.func);
        }
        for argument in &call.args {
            self.visit_expr(argument);
        }
    }
}
