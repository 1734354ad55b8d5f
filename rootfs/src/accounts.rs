//! Users and groups of an image that brings none.

/// `/etc/group`.
pub(crate) const GROUP: &str = "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nman:x:12:\n\
mail:x:8:\nwww-data:x:33:\nshadow:x:42:\nstaff:x:50:\nuser:x:1000:\nnogroup:x:65534:\n";

/// `/etc/passwd`, with this shell for people.
pub(crate) fn passwd(shell: &str) -> String {
    format!(
        "root:x:0:0:root:/root:{shell}\n\
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
bin:x:2:2:bin:/bin:/usr/sbin/nologin\n\
sys:x:3:3:sys:/dev:/usr/sbin/nologin\n\
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin\n\
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n\
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n\
_apt:x:100:65534::/nonexistent:/usr/sbin/nologin\n\
user:x:1000:1000::/home:{shell}\n\
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )
}
