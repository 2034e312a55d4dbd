use annulet_macros as runtime;

#[runtime::main(driver = "epoll")]
async fn main() {}
