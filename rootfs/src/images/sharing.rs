//! Whether organisations share what an import unpacks, and what it is called on the disk for that.

use crate::import::Digest;

/// Beginning of the names of what one organisation has alone: no digits begin so, whatever they are digits of.
const OWNED: &str = "own-";
/// Beginning of every digest.
const ALGORITHM: &str = "sha256:";

/// Who has the layers and trees that an import makes. What is stored already stays whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody: one of each digest.
    All,
    /// Whoever imported it: each organisation has files of its own. What the host's operator imports is everybody's.
    Organisation,
}

impl Sharing {
    /// Whose alone it is what an import of `org` makes.
    pub(crate) fn owner(self, org: Option<&str>) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Organisation => org,
        }
    }
}

/// The name on the disk of the layer or tree of this digest, and with `.json` of the record of an image. Whatever looks for
/// one, makes one or takes one away has its name from here.
pub(crate) fn place(digest: &str, owner: Option<&str>) -> String {
    match owner {
        None => digest.strip_prefix(ALGORITHM).unwrap_or(digest).to_owned(),
        // No owner holds a NUL, so no two pairs are the same bytes.
        Some(owner) => {
            format!("{OWNED}{}", Digest::of(format!("{owner}\0{digest}").as_bytes()).hex())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_setting_says_whose_it_is_and_the_operators_is_everybodys() {
        let owner = |sharing: Sharing, org| sharing.owner(org).map(str::to_owned);
        assert_eq!(owner(Sharing::All, Some("acme")), None);
        assert_eq!(owner(Sharing::Organisation, Some("acme")).as_deref(), Some("acme"));
        assert_eq!(owner(Sharing::Organisation, None), None);
    }

    #[test]
    fn what_is_shared_is_named_by_its_digest() {
        let digits = "0a".repeat(32);
        assert_eq!(place(&format!("sha256:{digits}"), None), digits);
    }

    #[test]
    fn each_owner_has_names_of_its_own() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let owners = [None, Some("acme"), Some("acm"), Some("other")];
        let names: BTreeSet<_> = [one.as_str(), two.as_str()]
            .into_iter()
            .flat_map(|digest| owners.map(|owner| place(digest, owner)))
            .collect();
        assert_eq!(names.len(), 2 * owners.len(), "{names:?}");
        assert_eq!(place(one.as_str(), Some("acme")), place(one.as_str(), Some("acme")));
        let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        assert!(names.iter().all(plain), "{names:?}");
    }

    /// A stranger chooses what a layer holds, also the very text that an owner's name is made of.
    #[test]
    fn no_content_has_the_name_of_what_another_owns() {
        let digest = Digest::of(b"a layer");
        let chosen = Digest::of(format!("acme\0{}", digest.as_str()).as_bytes());
        assert_ne!(place(chosen.as_str(), None), place(digest.as_str(), Some("acme")));
        assert!(Digest::parse(&format!("sha256:{}", place(digest.as_str(), Some("acme")))).is_err());
    }
}
