//! The configurations that the user's guide has, as a page of it shows them.

/// The text of the `n`th block of code below a heading of `page`; none where there is no such heading or block.
#[must_use]
pub fn recipe(page: &str, heading: &str, n: usize) -> Option<String> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n"))?;
    let section = section.split("\n## ").next()?;
    let mut blocks = vec![];
    let mut last = String::new();
    for line in section.lines() {
        match line.strip_prefix("    ") {
            Some(code) => last += &(code.to_owned() + "\n"),
            None if line.is_empty() || last.is_empty() => {
                last.push_str(if last.is_empty() { "" } else { "\n" })
            }
            None => blocks.push(std::mem::take(&mut last)),
        }
    }
    blocks.push(last);
    blocks.into_iter().nth(n)
}
