use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use super::*;

/// A driver whose outside world is a list of things that happen while the executor is parked.
#[derive(Default)]
struct Bell {
    while_parked: VecDeque<Box<dyn FnOnce()>>,
    unparked: Arc<Count>,
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Unpark for Count {
    fn unpark(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Driver for Bell {
    fn poll_io(&mut self) {}

    fn park(&mut self) {
        let happens = self.while_parked.pop_front().expect("nothing would ever end this park");
        happens();
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::clone(&self.unparked) as Arc<dyn Unpark>
    }
}

/// Ready at the second poll.
async fn step() {
    let mut polled = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Last;

impl TaskOrder for Last {
    fn choose(&mut self, ready: usize) -> usize {
        ready - 1
    }
}

fn trace(order: impl TaskOrder + 'static) -> Vec<(u8, u8)> {
    let mut exec = Executor::new(Bell::default(), order);
    let spawner = exec.spawner();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let handles: Vec<_> = (0..3u8)
        .map(|task| {
            let seen = Rc::clone(&seen);
            spawner.spawn(async move {
                for round in 0..2 {
                    seen.borrow_mut().push((task, round));
                    step().await;
                }
            })
        })
        .collect();
    exec.run_until(futures_util::future::join_all(handles));
    seen.take()
}

#[test]
fn the_order_is_a_policy() {
    assert_eq!(trace(Fifo), [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]);
    assert_ne!(trace(Fifo), trace(Last));
    assert_eq!(trace(Last), trace(Last));
}

#[test]
fn tasks_start_tasks_and_outlive_the_main_future() {
    let mut exec = Executor::new(Bell::default(), Fifo);
    let spawner = exec.spawner();
    let inner = spawner.clone();
    let (give, awaited) = crate::work::answer();
    exec.run_until(async move {
        drop(spawner.spawn(async move { drop(inner.spawn(async move { give.give(7) })) }));
    });
    assert_eq!(exec.run_until(awaited), Ok(7));
}

#[test]
fn an_answer_while_parked_unparks_once() {
    let mut exec = Executor::new(Bell::default(), Fifo);
    let (give, awaited) = crate::work::answer();
    let (give_other, other) = crate::work::answer();
    exec.driver().while_parked.push_back(Box::new(|| {
        give_other.give(1);
        give.give(2);
    }));
    let other = exec.spawner().spawn(other);
    assert_eq!(exec.run_until(awaited), Ok(2));
    assert_eq!(exec.driver().unparked.0.load(Ordering::SeqCst), 1, "asleep only once");
    assert_eq!(exec.run_until(other), Ok(1));
}

#[test]
fn a_wake_up_for_nobody_parks_again() {
    let mut exec = Executor::new(Bell::default(), Fifo);
    let (give, awaited) = crate::work::answer();
    exec.driver().while_parked.push_back(Box::new(|| {}));
    exec.driver().while_parked.push_back(Box::new(|| give.give(3)));
    assert_eq!(exec.run_until(awaited), Ok(3));
    assert!(exec.driver().while_parked.is_empty());
}

#[test]
fn dropping_the_executor_drops_its_tasks() {
    let exec = Executor::new(Bell::default(), Fifo);
    let held = Rc::new(());
    let (inside, spawner) = (Rc::clone(&held), exec.spawner());
    let circle = exec.spawner();
    drop(spawner.spawn(async move {
        let _both = (inside, circle);
        std::future::pending::<()>().await;
    }));
    drop(exec);
    assert_eq!(Rc::strong_count(&held), 1);
}
