import type { OlderRequest, OlderResponse } from "../../types/treadle.d.ts";

/** The older form: what is sent is the response. */
export default (req: OlderRequest, res: OlderResponse) => {
  if (req.payload === "text") res.send("text", 202);
  else res.json({ payload: req.payload, header: req.headers["x-test"], env: req.env.CUSTOM_ENV_VAR }, 201);
};
