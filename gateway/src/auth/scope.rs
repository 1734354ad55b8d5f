//! What a key may do.

/// One kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Look at sandboxes.
    SandboxesRead,
    /// Make, change and end sandboxes.
    SandboxesWrite,
    /// Everything inside of sandboxes.
    Exec,
    /// Look at images.
    ImagesRead,
    /// Make and remove images.
    ImagesWrite,
    /// Keys of the organisation.
    Keys,
    /// What concerns the host and not one organisation.
    Admin,
}

impl Scope {
    const ALL: [Self; 7] = [
        Self::SandboxesRead,
        Self::SandboxesWrite,
        Self::Exec,
        Self::ImagesRead,
        Self::ImagesWrite,
        Self::Keys,
        Self::Admin,
    ];

    /// Its name on the wire and in the store.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::SandboxesRead => "sandboxes:read",
            Self::SandboxesWrite => "sandboxes:write",
            Self::Exec => "exec",
            Self::ImagesRead => "images:read",
            Self::ImagesWrite => "images:write",
            Self::Keys => "keys",
            Self::Admin => "admin",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::SandboxesRead => 1,
            Self::SandboxesWrite => 2,
            Self::Exec => 4,
            Self::Keys => 8,
            Self::Admin => 16,
            Self::ImagesRead => 32,
            Self::ImagesWrite => 64,
        }
    }
}

/// The word of all scopes but `admin`, also of those that a later version adds.
const STAR: &str = "*";
const STAR_BIT: u8 = 128;

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

impl Scopes {
    /// What a key has where nobody says anything.
    pub(crate) const STAR: Self = Self(STAR_BIT);
    /// What the first key has.
    pub(crate) const EVERYTHING: Self = Self(STAR_BIT | 16);

    /// The set of these words; `None` when one is no scope.
    pub(crate) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        words.into_iter().try_fold(Self(0), |set, word| {
            let bit = match word {
                STAR => STAR_BIT,
                word => Scope::ALL.into_iter().find(|scope| scope.word() == word)?.bit(),
            };
            Some(Self(set.0 | bit))
        })
    }

    pub(crate) fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0 || self.0 & STAR_BIT != 0 && scope != Scope::Admin
    }

    /// Whether a key with `self` may be given by one with `other`.
    pub(crate) fn within(self, other: Self) -> bool {
        let star = self.0 & STAR_BIT == 0 || other.0 & STAR_BIT != 0;
        star && Scope::ALL.into_iter().all(|scope| !self.has(scope) || other.has(scope))
    }

    /// The same set and one scope.
    pub(crate) fn and(self, scope: Scope) -> Self {
        Self(self.0 | scope.bit())
    }

    /// The same set without one scope.
    pub(crate) fn without(self, scope: Scope) -> Self {
        Self(self.0 & !scope.bit())
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn words(self) -> Vec<&'static str> {
        let star = (self.0 & STAR_BIT != 0).then_some(STAR);
        let scopes = Scope::ALL.into_iter().filter(|scope| self.0 & scope.bit() != 0).map(Scope::word);
        star.into_iter().chain(scopes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &str) -> Scopes {
        Scopes::parse(words.split_whitespace()).unwrap()
    }

    #[test]
    fn a_star_is_everything_but_the_host() {
        let star = set("*");
        assert_eq!(star, Scopes::STAR);
        for scope in Scope::ALL {
            assert_eq!(star.has(scope), scope != Scope::Admin, "{scope:?}");
            assert!(Scopes::EVERYTHING.has(scope));
        }
        assert_eq!(Scopes::EVERYTHING.words(), ["*", "admin"]);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for bits in 0..STAR_BIT {
            let scopes = Scopes(bits);
            assert_eq!(Scopes::parse(scopes.words()), Some(scopes));
        }
        assert_eq!(Scopes::parse(["exec", "exex"]), None);
        assert_eq!(set("exec keys").words(), ["exec", "keys"]);
    }

    #[test]
    fn nobody_gives_what_they_have_not() {
        assert!(set("exec").within(set("*")) && set("*").within(set("* admin")));
        assert!(!set("*").within(set("sandboxes:read sandboxes:write exec images:read images:write keys")));
        assert!(!set("exec keys").within(set("keys")) && !set("admin").within(set("*")));
        assert!(set("").within(set("keys")));
    }
}
