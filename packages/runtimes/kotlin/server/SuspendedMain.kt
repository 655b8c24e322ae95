package treadle.kotlin

import io.openruntimes.java.RuntimeContext
import java.lang.reflect.Method
import java.util.concurrent.CompletableFuture
import kotlin.coroutines.Continuation
import kotlin.coroutines.EmptyCoroutineContext
import kotlin.coroutines.intrinsics.COROUTINE_SUSPENDED
import treadle.Suspended

/** Holds the thread until the coroutine is done: with what the standard library has, since kotlinx.coroutines may not be among the user's dependencies. */
class SuspendedMain : Suspended {
  override fun call(method: Method, instance: Any, context: RuntimeContext): Any? {
    val done = CompletableFuture<Any?>()
    val continuation = Continuation<Any?>(EmptyCoroutineContext) { result ->
      result.fold({ done.complete(it) }, { done.completeExceptionally(it) })
    }
    val result = method.invoke(instance, context, continuation)
    return if (result === COROUTINE_SUSPENDED) done.get() else result
  }
}
