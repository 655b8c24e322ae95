package treadle;

import io.openruntimes.java.RuntimeContext;
import io.openruntimes.java.RuntimeOutput;
import io.openruntimes.java.RuntimeRequest;
import io.openruntimes.java.RuntimeResponse;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;

/** The `main` of the class in the entry file, in any of its forms: `(context)`, `(req, res)`, and Kotlin's `suspend` (context, continuation). */
final class UserFunction {
  private static final String SUSPENDED = "treadle.kotlin.SuspendedMain";

  private final String failure;
  private final Constructor<?> constructor;
  private final Method method;
  private final Suspended suspended;

  private UserFunction(String failure, Constructor<?> constructor, Method method, Suspended suspended) {
    this.failure = failure;
    this.constructor = constructor;
    this.method = method;
    this.suspended = suspended;
  }

  /** Why it could not be loaded; null: it was. */
  String failure() {
    return failure;
  }

  static UserFunction load(Path code, String entrypoint) {
    try {
      Path file = code.resolve(entrypoint);
      if (!Files.isRegularFile(file)) return failed("The entry file " + entrypoint + " does not exist.");
      String name = className(file);
      return of(Class.forName(name, true, ClassLoader.getSystemClassLoader()));
    } catch (ClassNotFoundException e) {
      return failed("The entry file " + entrypoint + " has no class " + e.getMessage() + ".");
    } catch (Throwable e) {
      return failed(Exchange.trace(e));
    }
  }

  private static UserFunction failed(String why) {
    return new UserFunction(why, null, null, null);
  }

  /** The class that an entry file is named after, in the package that the file says. */
  private static String className(Path file) throws IOException {
    String base = file.getFileName().toString();
    String simple = base.substring(0, Math.max(base.lastIndexOf('.'), 0));
    for (String line : Files.readString(file, StandardCharsets.UTF_8).split("\n")) {
      String trimmed = line.strip();
      if (!trimmed.startsWith("package ")) continue;
      int end = trimmed.indexOf(';') < 0 ? trimmed.length() : trimmed.indexOf(';');
      return trimmed.substring(8, end).replace("`", "").strip() + "." + simple;
    }
    return simple;
  }

  /** @throws ReflectiveOperationException when it cannot be called */
  static UserFunction of(Class<?> type) throws ReflectiveOperationException {
    Method found = null;
    for (Method each : type.getDeclaredMethods()) {
      if (each.getName().equals("main") && !each.isSynthetic() && !each.isBridge() && takes(each.getParameterTypes())) found = each;
    }
    if (found == null) return failed("The class " + type.getName() + " has no method main(RuntimeContext context).");
    found.setAccessible(true);
    Constructor<?> constructor = type.getDeclaredConstructor();
    constructor.setAccessible(true);
    boolean suspends = found.getParameterCount() == 2 && found.getParameterTypes()[0] == RuntimeContext.class;
    Object waits = suspends ? Class.forName(SUSPENDED).getDeclaredConstructor().newInstance() : null;
    return new UserFunction(null, constructor, found, (Suspended) waits);
  }

  private static boolean takes(Class<?>[] types) {
    if (types.length == 1) return types[0] == RuntimeContext.class;
    if (types.length != 2) return false;
    if (types[0] == RuntimeRequest.class) return types[1] == RuntimeResponse.class;
    return types[0] == RuntimeContext.class && types[1].getName().equals("kotlin.coroutines.Continuation");
  }

  /** Calls it; throws what it throws. Null: it returned nothing. */
  RuntimeOutput call(RuntimeContext context) throws Throwable {
    try {
      Object instance = constructor.newInstance();
      Object result;
      if (suspended != null) result = suspended.call(method, instance, context);
      else if (method.getParameterCount() == 1) result = method.invoke(instance, context);
      else {
        method.invoke(instance, context.getReq(), context.getRes());
        result = context.getRes().last();
      }
      if (result instanceof CompletionStage) result = ((CompletionStage<?>) result).toCompletableFuture().get();
      return result instanceof RuntimeOutput ? (RuntimeOutput) result : null;
    } catch (InvocationTargetException | ExecutionException e) {
      throw e.getCause() == null ? e : e.getCause();
    }
  }
}
