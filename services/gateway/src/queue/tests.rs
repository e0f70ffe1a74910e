use super::{message::tests::head, *};

struct Fixture {
    queue: Arc<Queue>,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new(variables: &'static [(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(folder.path(), variables);
        Self { queue, folder }
    }

    /// The same folder after a restart.
    fn restart(&mut self, variables: &'static [(&str, &str)]) {
        self.queue = open(self.folder.path(), variables);
    }

    /// Takes a call in and gives it up.
    async fn bury(&self, id: &str) {
        let body = Body::from("body");
        self.queue.accept(head("f.fn", id), body).await.unwrap();
        let Next::Call(ticket) = self.queue.next() else {
            panic!("nothing to call");
        };
        let policy = Policy::default();
        let reason = "x".to_owned();
        assert!(
            self.queue
                .failed(&ticket, &End::Hopeless, &policy, reason)
                .await
        );
    }

    fn dead(&self) -> Vec<String> {
        let dead = self.queue.overview().dead;
        dead.into_iter().map(|dead| dead.id).collect()
    }
}

fn open(folder: &Path, variables: &'static [(&str, &str)]) -> Arc<Queue> {
    let config = Config::read(|name| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    Arc::new(Queue::open_at(&folder.join("queue"), &config).unwrap())
}

#[tokio::test]
async fn dead_letters_age_by_hours_of_operation() {
    const THREE_HOURS: &[(&str, &str)] = &[("queue_dead_age", "3h")];
    let mut it = Fixture::new(THREE_HOURS);
    it.bury("old").await;
    it.queue.hour_passed().await;
    it.bury("new").await;
    it.queue.hour_passed().await;
    assert_eq!(it.dead(), ["old", "new"]);
    // The hours before a restart count.
    it.restart(THREE_HOURS);
    it.queue.hour_passed().await;
    assert_eq!(it.dead(), ["new"]);
    it.queue.hour_passed().await;
    assert!(it.dead().is_empty());
    let left = fs::read_dir(it.folder.path().join("queue/dead")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn dead_letters_take_a_part_of_the_room() {
    // Four of them, of a block each.
    let it = Fixture::new(&[("queue_max_size", "64Ki")]);
    for number in 0..10 {
        it.bury(&number.to_string()).await;
    }
    assert_eq!(it.dead(), ["6", "7", "8", "9"]);
    assert_eq!(it.queue.state().bytes, 0);
}

#[tokio::test]
async fn bounds_that_shrank_hold_after_a_restart() {
    let mut it = Fixture::new(&[]);
    for id in ["1", "2", "3"] {
        it.bury(id).await;
    }
    it.restart(&[("queue_max_dead", "1")]);
    it.queue.prune().await;
    assert_eq!(it.dead(), ["3"]);
}

#[tokio::test]
async fn one_id_can_name_several() {
    let it = Fixture::new(&[]);
    for id in ["a", "b", "a"] {
        it.bury(id).await;
    }
    it.queue.replay("a").await.unwrap();
    assert_eq!(it.dead(), ["b"]);
    assert_eq!(it.queue.state().schedule.loads()[0].depth, 2);
    it.queue.discard("b").await.unwrap();
    assert!(it.dead().is_empty());
}

#[tokio::test]
async fn a_damaged_file_can_only_be_removed() {
    let mut it = Fixture::new(&[]);
    let path = it.folder.path().join("queue/waiting/0000000000000009-0");
    fs::write(path, "garbage").unwrap();
    it.restart(&[]);
    let id = &it.dead()[0];
    let error = it.queue.replay(id).await.unwrap_err();
    assert!(matches!(error, DeadError::Damaged), "{error:?}");
    assert_eq!(it.dead().len(), 1);
    it.queue.discard(id).await.unwrap();
    assert!(it.dead().is_empty());
}

#[tokio::test]
async fn a_file_that_goes_bad_while_it_waits_is_given_up() {
    let it = Fixture::new(&[]);
    let call = head("f.fn", "1");
    it.queue.accept(call, Body::from("body")).await.unwrap();
    let waiting = it.folder.path().join("queue/waiting");
    let entry = fs::read_dir(waiting).unwrap().next().unwrap().unwrap();
    fs::write(entry.path(), "garbage").unwrap();
    let stop = time::sleep(Duration::from_millis(300));
    run(Arc::clone(&it.queue), Arc::new(Never), stop).await;
    let dead = &it.queue.overview().dead;
    assert!(dead[0].reason.contains("cannot be read"), "{dead:?}");
}

/// Calls nothing.
struct Never;

impl Caller for Never {
    async fn policy(&self, _: &str) -> crate::provider::Result<Policy> {
        panic!("it is asked for a function");
    }

    async fn call(&self, _: hyper::Request<Body>) -> hyper::Response<Body> {
        panic!("it is called");
    }
}

#[test]
fn a_full_disk_is_told_from_other_errors() {
    let refusal = |kind: io::ErrorKind| Refusal::from(io::Error::from(kind));
    assert!(matches!(
        refusal(io::ErrorKind::StorageFull),
        Refusal::NoSpace
    ));
    assert!(matches!(
        refusal(io::ErrorKind::QuotaExceeded),
        Refusal::NoSpace
    ));
    assert!(matches!(
        refusal(io::ErrorKind::NotFound),
        Refusal::Failed(_)
    ));
}

#[test]
fn reasons_are_cut_between_characters() {
    let reason = "\u{e4}".repeat(REASON + 1);
    assert_eq!(shortened(reason).chars().count(), REASON + 3);
    assert_eq!(shortened("short".to_owned()), "short");
}
