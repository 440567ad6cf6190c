//! Which file of a served directory a path names.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Component, Path};

/// Why there is no file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Absent,
    /// The path leads out of the directory, or the file may not be read.
    Refused,
}

/// Opens the file at this path below `root`, an absolute path without links. The target of a link must be below `root`, too.
pub(crate) fn found(root: &Path, path: &str) -> Result<File, Missing> {
    let path = Path::new(path.trim_start_matches('/'));
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(Missing::Refused);
    }
    let missing = |error: io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Missing::Absent,
        _ => Missing::Refused,
    };
    // A link that leads out is refused alike whether its target exists or not.
    let nearest = path
        .ancestors()
        .find_map(|part| root.join(part).canonicalize().ok());
    if !nearest.is_some_and(|nearest| nearest.starts_with(root)) {
        return Err(Missing::Refused);
    }
    let path = root.join(path).canonicalize().map_err(missing)?;
    // A pipe would never end, and a directory is no file.
    match path.is_file() {
        true => File::open(path).map_err(missing),
        false => Err(Missing::Absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap();
        for (path, missing) in [
            ("/Cargo.toml", None),
            ("src/files.rs", None),
            ("//src/files.rs", None),
            ("/src", Some(Missing::Absent)),
            ("/src/nothing", Some(Missing::Absent)),
            ("/Cargo.toml/x", Some(Missing::Absent)),
            ("/../Cargo.toml", Some(Missing::Refused)),
            ("/src/../../nothing", Some(Missing::Refused)),
        ] {
            assert_eq!(found(&root, path).err(), missing, "{path}");
        }
    }
}
