import type {
  AggregateStreamOptions,
  AggregateStreamResultWithGlobalPosition,
  AppendToStreamOptions,
  AppendToStreamResultWithGlobalPosition,
  DefaultEventStoreOptions,
  Event,
  EventStore,
  ReadEventMetadataWithGlobalPosition,
} from '@event-driven-io/emmett';
import type { Quipu } from './index.js';

/** The version of a stream that does not exist. */
export declare const QuipuEventStoreDefaultStreamVersion: 0n;

export interface QuipuEventStore extends EventStore<ReadEventMetadataWithGlobalPosition> {
  appendToStream<EventType extends Event, EventPayloadType extends Event = EventType>(
    streamName: string,
    events: EventType[],
    options?: AppendToStreamOptions<bigint, EventType, EventPayloadType>,
  ): Promise<AppendToStreamResultWithGlobalPosition>;
  aggregateStream<State, EventType extends Event, EventPayloadType extends Event = EventType>(
    streamName: string,
    options: AggregateStreamOptions<State, EventType, ReadEventMetadataWithGlobalPosition, EventPayloadType>,
  ): Promise<AggregateStreamResultWithGlobalPosition<State>>;
}

export interface QuipuEventStoreOptions extends DefaultEventStoreOptions<QuipuEventStore> {
  /** Append although a decider serves the category. */
  raw?: boolean;
}

/** Returns an event store of Emmett that keeps its streams on a host. */
export declare function getQuipuEventStore(quipu: Quipu<any>, options?: QuipuEventStoreOptions): QuipuEventStore;
