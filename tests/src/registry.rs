//! A real registry on this machine, filled by the tools that people use.

use crate::eventually::eventually;
use crate::programs::repository;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// Debian's `docker-registry` with an image of two layers; it ends with this value.
#[derive(Debug)]
pub struct Registry {
    dir: TempDir,
    /// Where it listens, on loopback.
    pub address: String,
    process: Child,
}

impl Registry {
    /// Starts an empty one.
    ///
    /// # Panics
    /// When it does not answer in time.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port");
        let (address, data) = (free.to_string(), dir.path().join("data"));
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            data.display()
        );
        let file = dir.path().join("registry.yml");
        std::fs::write(&file, config).expect("the configuration");
        let mut command = Command::new("docker-registry");
        let process = command
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a registry");
        eventually("the registry answers", || {
            TcpStream::connect(&address).map_err(|error| error.to_string())
        });
        Self { dir, address, process }
    }

    /// The smallest image with a file of `size` random bytes as a second layer, under this name.
    ///
    /// # Panics
    /// When a tool fails.
    pub fn push(&self, name: &str, size: usize) -> String {
        let (archive, layout) = (self.dir.path().join("minimal.tar"), self.dir.path().join("layout"));
        run(Command::new("bash").arg(repository().join("rootfs/recipes/minimal")).arg(&archive));
        let image = format!("{}:app", layout.display());
        run(Command::new("skopeo")
            .args(["copy", "--quiet"])
            .arg(format!("docker-archive:{}", archive.display()))
            .arg(format!("oci:{image}")));
        let more = self.dir.path().join("more");
        run(Command::new("sh")
            .args(["-c", "head -c \"$1\" /dev/urandom >\"$2\"", "sh", &size.to_string()])
            .arg(&more));
        run(Command::new("umoci").args(["insert", "--image", &image]).arg(&more).arg("/more"));
        let name = format!("{}/{name}", self.address);
        run(Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false"])
            .args([format!("oci:{image}"), format!("docker://{name}")]));
        name
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().expect("it can be ended");
        self.process.wait().expect("it ends");
    }
}

/// Runs a tool that must succeed.
///
/// # Panics
/// When it does not.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the tool starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
