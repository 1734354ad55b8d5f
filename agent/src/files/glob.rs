//! Patterns of names, over bytes.

/// A pattern: with `*`, `?` or `[` it matches a whole name, else any part of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pattern<'a>(&'a [u8]);

impl<'a> Pattern<'a> {
    /// These bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether a name is one of those.
    pub(crate) fn matches(self, name: &[u8]) -> bool {
        if self.0.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            return whole(self.0, name);
        }
        self.0.is_empty() || name.windows(self.0.len()).any(|part| part == self.0)
    }
}

/// Goes back to the last star alone, which is enough and takes no more than the product of both lengths.
fn whole(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        if let Some(length) = one(&pattern[p..], name[n]) {
            (p, n) = (p + length, n + 1);
            continue;
        }
        let Some((after, from)) = star else { return false };
        star = Some((after, from + 1));
        (p, n) = (after, from + 1);
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Bytes of the pattern's first element, if that takes this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => match class(rest, byte) {
            Some((length, true)) => Some(1 + length),
            Some((_, false)) => None,
            // Not closed: it stands for itself.
            None => (byte == b'[').then_some(1),
        },
        [b'\\', literal, ..] => (*literal == byte).then_some(2),
        [literal, ..] => (*literal == byte).then_some(1),
    }
}

/// Length of what follows a `[` up to its `]`, and whether it takes the byte.
fn class(rest: &[u8], byte: u8) -> Option<(usize, bool)> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let end = start + 1 + rest.get(start + 1..)?.iter().position(|byte| *byte == b']')?;
    let (mut at, mut found) = (start, false);
    while at < end {
        let low = rest[at];
        let high = if rest[at + 1] == b'-' && at + 2 < end { rest[at + 2] } else { low };
        found |= (low..=high).contains(&byte);
        at += if rest[at + 1] == b'-' && at + 2 < end { 3 } else { 1 };
    }
    Some((end + 1, found != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern.as_bytes()).matches(name.as_bytes())
    }

    #[test]
    fn a_pattern_means_what_a_shell_means_by_it() {
        for (pattern, name) in [
            ("*.rs", "main.rs"),
            ("?b*", "abc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]]", "]"),
            ("[-a]", "-"),
            ("a[", "a["),
            ("*a*b*", "xxaxxbxx"),
            ("\\**", "*x"),
            ("part", "a part of it"),
            ("*", ".hidden"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.rs", "main.rsx"), ("?", ""), ("[a-c]x", "dx"), ("[!a]", "a"), ("\\**", "x"), ("b", "a")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_few() {
        let (pattern, name) = ("*a".repeat(500) + "b", "a".repeat(255));
        let begun = std::time::Instant::now();
        assert!(!matches(&pattern, &name));
        assert!(begun.elapsed() < std::time::Duration::from_secs(1));
    }
}
