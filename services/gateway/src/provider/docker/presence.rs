//! Notices that the engine goes away by its socket's file. An engine that is
//! asked to end takes that away first, and then waits for the clients that it
//! still has: for those who follow its events, dockerd waits seconds.

use std::{io, path::Path};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

/// Waits until there is no file at a path.
pub(super) async fn gone(socket: &Path) -> io::Result<()> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let what = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::DELETE_SELF;
    inotify::add_watch(&changes, folder, what)?;
    // SAFETY: an `OwnedFd` is open for as long as it lives, and always the same.
    let changes = unsafe { AsyncFd::register_with_interest(changes, Interest::READABLE) }?;
    let mut events = [0; 4096];
    // Looked at after the watch began, so that nothing is missed.
    while socket.try_exists()? {
        let mut ready = changes.readable().await?;
        // Until there is none left; which file it was does not matter.
        while let Ok(read) = ready.try_io(|changes| Ok(rustix::io::read(changes, &mut events)?)) {
            read?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::net::UnixListener, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_socket_is_there_until_its_file_goes() {
        let removed: fn(&Path) = |path| fs::remove_file(path).unwrap();
        let renamed: fn(&Path) = |path| fs::rename(path, path.with_extension("old")).unwrap();
        let with_its_folder: fn(&Path) = |path| fs::remove_dir_all(path.parent().unwrap()).unwrap();
        for goes in [removed, renamed, with_its_folder] {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path().join("docker");
            fs::create_dir(&folder).unwrap();
            let path = folder.join("docker.sock");
            let _listener = UnixListener::bind(&path).unwrap();
            let gone = gone(&path);
            tokio::pin!(gone);
            assert!(timeout(SHORT, &mut gone).await.is_err(), "nothing happened");
            fs::write(folder.join("docker.pid"), "1").unwrap();
            fs::remove_file(folder.join("docker.pid")).unwrap();
            assert!(timeout(SHORT, &mut gone).await.is_err(), "another file");
            goes(&path);
            timeout(LONG, gone).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_gone_and_what_cannot_be_watched_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        timeout(LONG, gone(&path)).await.unwrap().unwrap();
        let path = folder.path().join("nowhere/docker.sock");
        assert!(timeout(LONG, gone(&path)).await.unwrap().is_err());
    }
}
