//! The bill of materials: which packages are in the image, as CycloneDX 1.6 in JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::program::{cargo, output};
use crate::rust_target::TARGET;

/// A package that is in the image.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Package {
    licence: String,
    repository: String,
    /// Names and versions of those that it uses.
    uses: BTreeSet<String>,
}

/// By name and version.
type Packages = BTreeMap<String, Package>;

/// What is in the kernel of a checkout, whose image has this digest. No time and no serial number: the same image has the same
/// bill.
pub(super) fn of_kernel(checkout: &Path, digest: &str, rustc: &str) -> Result<String> {
    // What is linked for the target; `cargo metadata` joins the features of the whole workspace, tests and all.
    let mut tree = cargo();
    tree.current_dir(checkout)
        .args(["tree", "--locked", "--package", "kernel", "--target", TARGET])
        .args(["--edges", "normal,no-proc-macro", "--prefix", "depth"])
        .args(["--format", "\t{p}\t{l}\t{r}"]);
    let packages = packages(&output(&mut tree)?)?;
    let lock = fs::read_to_string(checkout.join("Cargo.lock")).context("dist: Cargo.lock")?;
    let bill = bill(&packages, &checksums(&lock), digest, rustc)?;
    Ok(format!("{bill:#}\n"))
}

/// Takes `cargo tree`'s lines apart: depth, package, licence, repository.
fn packages(tree: &str) -> Result<Packages> {
    let mut packages = Packages::new();
    let mut above: Vec<String> = vec![];
    for line in tree.lines() {
        let mut fields = line.split('\t');
        let mut field = || fields.next().with_context(|| format!("cargo tree: {line}"));
        let depth: usize = field()?.parse().with_context(|| format!("cargo tree: {line}"))?;
        let (package, licence, repository) = (field()?, field()?, field()?);
        // "NAME vVERSION", and behind it a path.
        let mut words = package.split(' ');
        let (name, version) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let version = version
            .strip_prefix('v')
            .with_context(|| format!("cargo tree: {line}"))?;
        let key = format!("{name}@{version}");
        ensure!(depth <= above.len(), "cargo tree: {line}");
        above.truncate(depth);
        if let Some(user) = above.last().and_then(|user| packages.get_mut(user)) {
            user.uses.insert(key.clone());
        }
        above.push(key.clone());
        let package = packages.entry(key).or_default();
        // Older manifests have a stroke where SPDX has a word.
        package.licence = licence.replace('/', " OR ");
        // What has been shown before ends in " (*)".
        package.repository = repository.trim_end_matches(" (*)").to_owned();
    }
    Ok(packages)
}

/// The registry's checksums in a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let value = |package: &str, key: &str| -> Option<String> {
        let line = package
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let entry = |package: &str| {
        let key = format!("{}@{}", value(package, "name")?, value(package, "version")?);
        Some((key, value(package, "checksum")?))
    };
    lock.split("[[package]]").filter_map(entry).collect()
}

/// The packages as CycloneDX has them.
fn bill(
    packages: &Packages,
    checksums: &BTreeMap<String, String>,
    digest: &str,
    rustc: &str,
) -> Result<Value> {
    let version = |key: &str| key.rsplit_once('@').map(|(_, version)| version.to_owned());
    let (kernel, _) = packages
        .iter()
        .find(|(key, _)| key.starts_with("kernel@"))
        .context("dist: cargo tree has no kernel")?;
    let mut components = vec![];
    let mut uses = vec![];
    for (key, package) in packages {
        let mut used: Vec<&str> = package.uses.iter().map(String::as_str).collect();
        if key == kernel {
            used.push(RUST);
        } else {
            components.push(component(key, package, checksums)?);
        }
        uses.push(json!({ "ref": key, "dependsOn": used }));
    }
    uses.push(json!({ "ref": RUST, "dependsOn": [] }));
    components.push(json!({
        "type": "library",
        "bom-ref": RUST,
        "name": "core, alloc and compiler_builtins",
        "version": rustc.trim_start_matches("rustc "),
        // That of compiler_builtins; the others' is part of it.
        "licenses": [{ "expression": "MIT AND Apache-2.0 WITH LLVM-exception AND (MIT OR Apache-2.0)" }],
        "externalReferences": [{ "type": "vcs", "url": "https://github.com/rust-lang/rust" }]
    }));
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "firmware",
                "bom-ref": kernel,
                "name": "Bramble (kernel8.img)",
                "version": version(kernel),
                "hashes": [{ "alg": "SHA-256", "content": digest }],
                "licenses": [{ "expression": packages[kernel].licence }]
            }
        },
        "components": components,
        "dependencies": uses
    }))
}

/// What every Rust program has in it beside its packages.
const RUST: &str = "rust";

fn component(key: &str, package: &Package, checksums: &BTreeMap<String, String>) -> Result<Value> {
    let (name, version) = key
        .rsplit_once('@')
        .context("dist: a package without a version")?;
    ensure!(!package.licence.is_empty(), "dist: {key} has no licence");
    let mut component = json!({
        "type": "library",
        "bom-ref": key,
        "name": name,
        "version": version,
        "licenses": [{ "expression": package.licence }]
    });
    // The others are this checkout's.
    if let Some(checksum) = checksums.get(key) {
        component["purl"] = json!(format!("pkg:cargo/{key}"));
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if !package.repository.is_empty() {
        component["externalReferences"] = json!([{ "type": "vcs", "url": package.repository }]);
    }
    Ok(component)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "0\tkernel v0.1.0 (/some/where/kernel)\tMIT OR Apache-2.0\t\n\
        1\tboot v0.1.0 (/some/where/boot)\tMIT OR Apache-2.0\t\n\
        2\tone v1.2.3\tMIT/Apache-2.0\thttps://a/one\n\
        3\ttwo v2.0.0\t0BSD\thttps://a/two\n\
        2\ttwo v2.0.0\t0BSD\thttps://a/two (*)\n\
        1\tone v1.2.3\tMIT/Apache-2.0\thttps://a/one (*)\n";
    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"boot\"\nversion = \"0.1.0\"\n\n\
        [[package]]\nname = \"one\"\nversion = \"1.2.3\"\nsource = \"registry\"\nchecksum = \"ab12\"\ndependencies = [\n \"two\",\n]\n";

    #[test]
    fn a_bill_names_what_is_in_the_image_and_no_place_of_this_machine() {
        let bill = bill(&packages(TREE).unwrap(), &checksums(LOCK), "d1", "rustc 1.95.0").unwrap();
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["boot", "one", "two", "core, alloc and compiler_builtins"]);
        assert_eq!(
            bill["components"][1],
            json!({
                "type": "library", "bom-ref": "one@1.2.3", "name": "one", "version": "1.2.3",
                "purl": "pkg:cargo/one@1.2.3",
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "hashes": [{ "alg": "SHA-256", "content": "ab12" }],
                "externalReferences": [{ "type": "vcs", "url": "https://a/one" }]
            })
        );
        // What is in no registry has no address there.
        assert_eq!(bill["components"][0].get("purl"), None);
        assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], "d1");
        assert_eq!(
            bill["dependencies"],
            json!([
                { "ref": "boot@0.1.0", "dependsOn": ["one@1.2.3", "two@2.0.0"] },
                { "ref": "kernel@0.1.0", "dependsOn": ["boot@0.1.0", "one@1.2.3", "rust"] },
                { "ref": "one@1.2.3", "dependsOn": ["two@2.0.0"] },
                { "ref": "two@2.0.0", "dependsOn": [] },
                { "ref": "rust", "dependsOn": [] }
            ])
        );
        assert!(!bill.to_string().contains("/some/where"));
    }

    #[test]
    fn what_cargo_does_not_say_is_an_error() {
        for (right, wrong) in [
            ("2\tone v1.2.3", "2\tone 1.2.3"),
            ("2\tone", "5\tone"),
            ("1\tboot", "boot"),
        ] {
            assert!(packages(&TREE.replacen(right, wrong, 1)).is_err(), "{wrong}");
        }
        let packages = packages(&TREE.replace("0BSD", "")).unwrap();
        let error = bill(&packages, &checksums(LOCK), "", "").unwrap_err().to_string();
        assert_eq!(error, "dist: two@2.0.0 has no licence");
    }
}
