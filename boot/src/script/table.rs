//! Tables of names, in which a name is found by a number.

/// The first eight bytes of a name, in the order of names.
pub(super) const fn key(name: &str) -> u64 {
    let (mut key, mut rest, mut shift) = (0, name.as_bytes(), u64::BITS);
    while let [byte, after @ ..] = rest
        && let Some(left) = shift.checked_sub(8)
    {
        key |= (*byte as u64) << left;
        (rest, shift) = (after, left);
    }
    key
}
