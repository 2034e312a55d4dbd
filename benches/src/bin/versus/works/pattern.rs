//! What is in the files that are read: words that follow from their places.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const WORD: usize = 8;
/// Written and checked at once.
const STRIDE: usize = 1 << 20;

/// Different numbers become different ones that look like nothing (the finisher of SplitMix64).
pub(super) fn mix(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The bytes from `offset` on, a multiple of eight.
fn words(offset: u64) -> impl Iterator<Item = [u8; WORD]> {
    (offset / WORD as u64..).map(|place| mix(place + 1).to_le_bytes())
}

pub(super) fn holds(offset: u64, bytes: &[u8]) -> bool {
    let words = words(offset);
    bytes
        .chunks(WORD)
        .zip(words)
        .all(|(found, word)| *found == word[..found.len()])
}

/// Looks at the first and the last word only.
pub(super) fn holds_at_its_ends(offset: u64, bytes: &[u8]) -> bool {
    let Some(last) = bytes.len().checked_sub(WORD) else {
        return holds(offset, bytes);
    };
    // In the middle of a word if the length is no multiple of one.
    let last = last - last % WORD;
    holds(offset, &bytes[..WORD]) && holds(offset + last as u64, &bytes[last..])
}

pub(super) fn fill(file: &File, len: u64) -> io::Result<()> {
    let mut bytes = vec![0; STRIDE];
    let mut offset = 0;
    while offset < len {
        for (chunk, word) in bytes.chunks_exact_mut(WORD).zip(words(offset)) {
            chunk.copy_from_slice(&word);
        }
        let now = STRIDE.min((len - offset) as usize);
        file.write_all_at(&bytes[..now], offset)?;
        offset += now as u64;
    }
    Ok(())
}

/// Whether the file begins with so many bytes of the pattern.
pub(super) fn check(file: &File, len: u64) -> io::Result<()> {
    let mut bytes = vec![0; STRIDE];
    let mut offset = 0;
    while offset < len {
        let now = STRIDE.min((len - offset) as usize);
        file.read_exact_at(&mut bytes[..now], offset)?;
        if !holds(offset, &bytes[..now]) {
            return Err(io::Error::other("the copy has other bytes"));
        }
        offset += now as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_byte_is_seen_wherever_it_is() {
        let file = tempfile::tempfile().unwrap();
        fill(&file, 100).unwrap();
        check(&file, 100).unwrap();
        let mut bytes = [0; 36];
        file.read_exact_at(&mut bytes, 64).unwrap();
        assert!(holds(64, &bytes) && holds_at_its_ends(64, &bytes));
        assert!(!holds(56, &bytes) && !holds_at_its_ends(56, &bytes));
        for wrong in 0..bytes.len() {
            bytes[wrong] ^= 1;
            assert!(!holds(64, &bytes));
            let between = (8..24).contains(&wrong);
            assert_eq!(holds_at_its_ends(64, &bytes), between);
            bytes[wrong] ^= 1;
        }
        file.write_all_at(b"x", 99).unwrap();
        assert!(check(&file, 100).is_err());
    }
}
