//! Formats by the names of files, and what compresses them.

use crate::files::failure::Outcome;
use bulkhead_protocol::files::Format;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};

/// Endings of names, longer ones first where one ends another.
const ENDINGS: [(&[u8], Format); 10] = [
    (b".tar.gz", Format::TarGz),
    (b".tgz", Format::TarGz),
    (b".tar.bz2", Format::TarBz2),
    (b".tbz2", Format::TarBz2),
    (b".tbz", Format::TarBz2),
    (b".tar.zst", Format::TarZst),
    (b".tzst", Format::TarZst),
    (b".tar", Format::Tar),
    (b".zip", Format::Zip),
    (b".jar", Format::Zip),
];
/// Bytes between the file and what is compressed.
const BUFFER: usize = 64 << 10;

/// The format of a file with this name.
pub(crate) fn of_name(name: &[u8]) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| *format)
}

/// What a file of this format that we make ends with.
pub(crate) fn ending(format: Format) -> &'static [u8] {
    match format {
        Format::Tar => b".tar",
        Format::TarGz => b".tar.gz",
        Format::TarBz2 => b".tar.bz2",
        Format::TarZst => b".tar.zst",
        Format::Zip => b".zip",
    }
}

/// A writer that compresses.
pub(crate) enum Packed<'a> {
    Plain(BufWriter<&'a File>),
    Gzip(flate2::write::GzEncoder<BufWriter<&'a File>>),
    Bzip2(bzip2::write::BzEncoder<BufWriter<&'a File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<&'a File>>),
}

impl<'a> Packed<'a> {
    /// Into this file. A zip compresses by itself.
    pub(crate) fn new(file: &'a File, format: Format) -> Outcome<Self> {
        let file = BufWriter::with_capacity(BUFFER, file);
        Ok(match format {
            Format::Tar | Format::Zip => Self::Plain(file),
            Format::TarGz => Self::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
            Format::TarBz2 => Self::Bzip2(bzip2::write::BzEncoder::new(file, bzip2::Compression::default())),
            Format::TarZst => {
                Self::Zstd(zstd::stream::write::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?)
            }
        })
    }

    /// Writes what is left.
    pub(crate) fn finish(self) -> Outcome {
        let mut file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Bzip2(encoder) => encoder.finish()?,
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(file.flush()?)
    }
}

impl Write for Packed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Bzip2(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Bzip2(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// A reader that decompresses; several streams in a row are one.
pub(crate) fn unpacked(file: File, format: Format) -> Outcome<Box<dyn Read>> {
    let file = BufReader::with_capacity(BUFFER, file);
    Ok(match format {
        Format::Tar | Format::Zip => Box::new(file),
        Format::TarGz => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Format::TarBz2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Format::TarZst => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
    })
}
