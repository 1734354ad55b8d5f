//! Rings, cursors and gaps.

use super::*;

fn tell(feed: &Feed, count: usize) {
    for _ in 0..count {
        feed.tell(&Story::Key { id: "k", what: "key.created" });
    }
}

async fn read(reader: &mut Reader) -> String {
    String::from_utf8(reader.next().await.to_vec()).unwrap()
}

fn ids(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.strip_prefix("id:")).map(|id| id.parse().unwrap()).collect()
}

#[tokio::test]
async fn who_resumes_gets_what_follows_and_nothing_twice() {
    let feed = Arc::new(Feed::new(100));
    let mut first = feed.follow(None, Scopes::STAR).unwrap();
    tell(&feed, 3);
    let text = read(&mut first).await;
    assert_eq!(ids(&text), [101, 102, 103]);
    assert!(text.starts_with("event:key.created\ndata:{\"at\":\""), "{text}");
    let mut second = feed.follow(Some(102), Scopes::STAR).unwrap();
    assert_eq!(ids(&read(&mut second).await), [103]);
    tell(&feed, 1);
    assert_eq!(ids(&read(&mut second).await), [104]);
    assert_eq!(ids(&read(&mut first).await), [104]);
}

#[tokio::test]
async fn what_is_gone_is_told_as_a_gap() {
    let feed = Arc::new(Feed::new(100));
    tell(&feed, limits::NEWS + 5);
    let mut late = feed.follow(Some(101), Scopes::STAR).unwrap();
    let text = read(&mut late).await;
    assert!(text.starts_with("event:gap\ndata:{\"from\":101,\"to\":105}\nid:105\n\n"), "{}", &text[..80]);
    assert_eq!(ids(&text)[..2], [105, 106]);
    // Of a process whose clock was ahead.
    let mut beyond = feed.follow(Some(1 << 40), Scopes::STAR).unwrap();
    assert!(read(&mut beyond).await.starts_with("event:gap\n"));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_told_what_it_may_look_at_and_offsets_pass() {
    let feed = Arc::new(Feed::new(0));
    let scopes = |word: &str| Scopes::parse([word]).unwrap();
    let mut reader = feed.follow(None, scopes("sandboxes:read")).unwrap();
    tell(&feed, 1);
    feed.tell(&Story::Sandbox { id: "s", what: "sandbox.created" });
    feed.tell(&Story::Image { name: "i:latest", what: "image.imported" });
    feed.tell(&Story::Execution { sandbox: "s", end: "exited" });
    assert_eq!(ids(&read(&mut reader).await), [2, 4]);
    assert_eq!(ids(&read(&mut feed.follow(Some(0), scopes("images:read")).unwrap()).await), [3]);
    assert_eq!(ids(&read(&mut feed.follow(Some(0), scopes("keys")).unwrap()).await), [1]);
    // What it is not told of is no event for it, but also no silence beyond a comment's time.
    let begin = tokio::time::Instant::now();
    tell(&feed, 3);
    assert_eq!(read(&mut reader).await, ":\n\n");
    assert_eq!(begin.elapsed(), limits::EVENT_COMMENT);
    feed.tell(&Story::Sandbox { id: "s", what: "sandbox.deleted" });
    assert_eq!(ids(&read(&mut reader).await), [8]);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_and_readers_are_bounded() {
    let feed = Arc::new(Feed::new(0));
    let mut readers: Vec<_> =
        (0..limits::NEWS_READERS).map(|_| feed.follow(None, Scopes::STAR).unwrap()).collect();
    assert!(feed.follow(None, Scopes::STAR).is_none());
    assert_eq!(read(&mut readers[0]).await, ":\n\n");
    drop(readers.pop());
    assert!(feed.follow(None, Scopes::STAR).is_some());
}
