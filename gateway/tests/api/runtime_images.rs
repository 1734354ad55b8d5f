//! The images of a runtime that unpacks nothing: what an import gets depends on the archive's bytes.

use crate::runtime::{image_id, refused};
use bulkhead_protocol::image::{
    IMAGE_PAGE, ImageDefaults, ImageExcess, ImageName, ImageRow, ImportImage, ImportProgress,
};
use bulkhead_protocol::runtime::{ImagesOf, RefusalKind, Reply, Scarce};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::RawFd;

/// Names and what they mean.
#[derive(Default)]
pub(crate) struct Images(Vec<ImageRow>);

/// What the image of this name says of commands.
pub(crate) fn defaults(name: &str) -> ImageDefaults {
    if name != "app" && name != "tty" {
        return ImageDefaults::default();
    }
    let env = [("FROM", "image"), ("BOTH", "image")];
    ImageDefaults {
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        working_dir: Some("/srv".to_owned()),
        user: Some("app:app".to_owned()),
    }
}

/// A descriptor that came in a packet, as a file that closes itself.
pub(crate) fn owned(descriptor: RawFd) -> File {
    let path = format!("/proc/self/fd/{descriptor}");
    let file = File::options().read(true).write(true).open(path).unwrap();
    nix::unistd::close(descriptor).unwrap();
    file
}

impl Images {
    pub(crate) fn plant(&mut self, org: Option<&str>, name: &str, bytes: u64) {
        let name = ImageName::parse(name).unwrap();
        let (org, id) = (org.map(str::to_owned), image_id("planted"));
        self.0.push(ImageRow { org, name, id, bytes, layers: 1, created_us: 1_000_000, created_by: None });
    }

    pub(crate) fn list(&self, of: &ImagesOf, skip: u64) -> Reply {
        let theirs = |row: &&ImageRow| match of {
            ImagesOf::All => true,
            // Those of "stray" are shown to everybody, as no runtime should.
            ImagesOf::Org(org) => row.org.as_ref().is_none_or(|owner| owner == org || owner == "stray"),
        };
        let rows = self.0.iter().filter(theirs).skip(usize::try_from(skip).unwrap());
        Reply::Images(rows.take(IMAGE_PAGE).cloned().collect())
    }

    pub(crate) fn remove(&mut self, org: Option<&str>, image: &ImageName) -> Reply {
        let before = self.0.len();
        self.0.retain(|row| row.org.as_deref() != org || row.name != *image);
        if self.0.len() == before { refused(RefusalKind::UnknownImage) } else { Reply::ImageRemoved }
    }

    pub(crate) fn import(&mut self, order: ImportImage, mut descriptors: Vec<File>) -> Reply {
        let (Some(mut progress), Some(mut archive), None) =
            (descriptors.pop(), descriptors.pop(), descriptors.pop())
        else {
            panic!("an import comes with two descriptors");
        };
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).unwrap();
        let line = serde_json::to_vec(&ImportProgress::Assembling).unwrap();
        // More than a pipe holds: nobody may have to wait for who reads it.
        for _ in 0..10_000 {
            progress.write_all(&[&line[..], b"\n"].concat()).unwrap();
        }
        match &bytes[..] {
            b"bad" => {
                let detail = "layer 1: a name\u{1b}[31m with \"..\"".to_owned();
                return Reply::Refused { kind: RefusalKind::InvalidImage, detail };
            }
            b"busy" => return refused(RefusalKind::Busy),
            b"much" => return refused(RefusalKind::OverQuota(ImageExcess::Bytes)),
            b"full" => return refused(RefusalKind::NoRoom(Scarce::Disk)),
            _ => {}
        }
        let ImportImage { org, name, created_by, ceilings } = order;
        let owns = self.0.iter().filter(|row| row.org == org && row.name != name).count() as u64;
        if ceilings.names.is_some_and(|most| owns >= most) {
            return refused(RefusalKind::OverQuota(ImageExcess::Names));
        }
        let (bytes, id) = (u64::try_from(bytes.len()).unwrap(), image_id("new"));
        let row = ImageRow { org, name, id, bytes, layers: 2, created_us: 2_000_000, created_by };
        self.0.retain(|old| old.org != row.org || old.name != row.name);
        self.0.push(row.clone());
        Reply::Imported(row)
    }
}
