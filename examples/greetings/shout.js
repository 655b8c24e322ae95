cache.shouts = (cache.shouts ?? 0) + 1;
console.log(`shout number ${cache.shouts}`);
const greetings = await Promise.all(names.map((name) => hello({ name })));
return greetings.map((greeting) => `${greeting.toUpperCase()}!`);
