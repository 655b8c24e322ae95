const actions = {
  echo: (data) => data,
  change: (data) => ({
    payload: `${data.payload}!`,
    meta: { ...data.meta, seen: true },
    flow: { variables: { ...data.flow.variables, count: (data.flow.variables.count ?? 0) + 1 } },
    logs: ["changed"],
  }),
  code: () => ({ response_code: 2 }),
  throw: () => {
    throw new Error("Script failed");
  },
  log: (data) => {
    console.log("printed");
    return data;
  },
  nothing: () => undefined,
};

exports.handle = async (data) => actions[data.variables.action](data);
