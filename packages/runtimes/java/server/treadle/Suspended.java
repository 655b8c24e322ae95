package treadle;

import io.openruntimes.java.RuntimeContext;
import java.lang.reflect.Method;

/** Calls a Kotlin `suspend fun` and waits for it; Kotlin's runtime brings one. */
public interface Suspended {
  Object call(Method method, Object instance, RuntimeContext context) throws Exception;
}
