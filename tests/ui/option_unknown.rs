use annulet_macros as runtime;

#[runtime::main(entires = 1024)]
async fn near() {}

#[runtime::main(colour = "red")]
async fn far() {}

#[runtime::main(flavor = "multi_thread", worker_threads = 4)]
async fn foreign() {}

fn main() {
    near();
    far();
    foreign();
}
