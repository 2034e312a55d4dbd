use annulet_macros as runtime;

#[runtime::main]
async fn main<T: Default>() -> T {
    T::default()
}
