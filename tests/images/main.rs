//! Images: what is imported, what is refused, and what becomes of it.

mod basics;
mod bounds;
mod cost;
mod hostile;
mod interrupted;
mod make;
mod page_cache;
mod sharing;
mod tools;

use bulkhead_protocol::image::{ImageCeilings, ImageName, ImageRow, ImportImage};
use bulkhead_protocol::runtime::{Call, RefusalKind, Reply};
use bulkhead_tests::{RuntimeLink, Sandbox, Server};
use make::Image;
use serde_json::json;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

/// Sends an order and gives back the answer.
fn try_import(server: &Server, name: &str, source: &Path) -> Reply {
    let mut link = RuntimeLink::to(server);
    order(&mut link, name, source);
    link.answer().expect("an answer")
}

/// Sends an order.
fn order(link: &mut RuntimeLink, name: &str, source: &Path) {
    order_for(link, None, ImageCeilings::default(), name, source);
}

/// Sends an order of an organisation, which may have so much.
fn order_for(link: &mut RuntimeLink, org: Option<&str>, ceilings: ImageCeilings, name: &str, source: &Path) {
    drop(order_with_progress(link, org, ceilings, name, source));
}

/// The same; gives the file that is told how it goes.
fn order_with_progress(
    link: &mut RuntimeLink,
    org: Option<&str>,
    ceilings: ImageCeilings,
    name: &str,
    source: &Path,
) -> File {
    let name = ImageName::parse(name).expect("a name");
    let order = ImportImage { org: org.map(str::to_owned), name, created_by: None, ceilings };
    let source = File::open(source).expect("the source");
    let progress = tempfile::tempfile().expect("a file");
    link.send_with(Call::ImportImage(order), &[source.as_fd(), progress.as_fd()]);
    progress
}

/// Imports a layout.
fn import(server: &Server, name: &str, image: &Image) -> ImageRow {
    let directory = tempfile::tempdir().expect("a directory");
    image.write_layout(directory.path(), |_| {});
    imported(try_import(server, name, directory.path()))
}

fn imported(reply: Reply) -> ImageRow {
    match reply {
        Reply::Imported(row) => row,
        other => panic!("{other:?}"),
    }
}

/// The sentence of a refusal.
fn refusal(reply: Reply) -> String {
    match reply {
        Reply::Refused { kind: RefusalKind::InvalidImage, detail } => detail,
        other => panic!("{other:?}"),
    }
}

fn create<'a>(server: &'a Server, image: &str) -> Sandbox<'a> {
    server.create_with(json!({"image": image}))
}
