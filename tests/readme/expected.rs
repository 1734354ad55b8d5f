//! What a page shows of an output: `…` stands for anything, and an id of a sandbox for another one.

/// Characters of an id (contract §1), and how many.
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz234567";
const LENGTH: usize = 30;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Any,
    Id(String),
}

/// An output as a page shows it.
#[derive(Debug)]
pub(crate) struct Expected(Vec<Piece>);

impl Expected {
    pub(crate) fn of(shown: &str) -> Self {
        let mut pieces = Vec::new();
        for (number, part) in shown.split('…').enumerate() {
            if number > 0 {
                pieces.push(Piece::Any);
            }
            let mut rest = part;
            while let Some(at) = id_in(rest) {
                pieces.push(Piece::Text(rest[..at].to_owned()));
                pieces.push(Piece::Id(rest[at..at + LENGTH].to_owned()));
                rest = &rest[at + LENGTH..];
            }
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Self(pieces)
    }

    /// The ids of the page with those that stand there really, when the output is what is shown.
    pub(crate) fn matches(&self, output: &str) -> Option<Vec<(String, String)>> {
        fits(&self.0, output)
    }
}

fn fits(pieces: &[Piece], output: &str) -> Option<Vec<(String, String)>> {
    let Some((first, rest)) = pieces.split_first() else { return output.is_empty().then(Vec::new) };
    match first {
        Piece::Text(text) => fits(rest, output.strip_prefix(text.as_str())?),
        Piece::Any => {
            let starts = output.char_indices().map(|(at, _)| at).chain([output.len()]);
            starts.into_iter().find_map(|at| fits(rest, &output[at..]))
        }
        Piece::Id(shown) => {
            let real = output.get(..LENGTH).filter(|text| id_in(text) == Some(0))?;
            let mut more = fits(rest, &output[LENGTH..])?;
            more.insert(0, (shown.clone(), real.to_owned()));
            Some(more)
        }
    }
}

/// Where the first id begins.
fn id_in(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_part = |byte: &u8| ALPHABET.as_bytes().contains(byte);
    (0..=bytes.len().checked_sub(LENGTH)?).find(|at| {
        let alone = |neighbour: Option<&u8>| !neighbour.is_some_and(is_part);
        bytes[*at..at + LENGTH].iter().all(is_part)
            && alone(at.checked_sub(1).and_then(|before| bytes.get(before)))
            && alone(bytes.get(at + LENGTH))
    })
}
