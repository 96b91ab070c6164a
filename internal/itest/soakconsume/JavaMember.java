import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.WakeupException;

/** A member of a consumer group by Kafka's own client: brokers, topic, group, name, assignors, session in ms, work in microseconds. */
public class JavaMember {
    private static final FileOutputStream out = new FileOutputStream(FileDescriptor.out);
    private static volatile boolean stopping;
    private static boolean uncommitted; // an earlier commit was refused, since the group was rebalancing

    public static void main(String[] args) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", args[0]);
        p.put("group.id", args[2]);
        p.put("partition.assignment.strategy", args[4]);
        p.put("session.timeout.ms", args[5]);
        p.put("heartbeat.interval.ms", Integer.toString(Integer.parseInt(args[5]) / 6));
        p.put("auto.offset.reset", "earliest");
        p.put("enable.auto.commit", "false");
        p.put("max.poll.records", "200");
        p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
        long work = Long.parseLong(args[6]) * 1000;
        KafkaConsumer<String, String> consumer = new KafkaConsumer<>(p);
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            consumer.wakeup();
            try {
                main.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }));
        consumer.subscribe(List.of(args[1]), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                commit(consumer); // what an earlier commit could not, while the group was rebalancing
            }

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {}

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {}
        });
        try {
            while (!stopping) {
                for (ConsumerRecord<String, String> r : consumer.poll(Duration.ofMillis(100))) {
                    String id = r.value().substring(0, r.value().indexOf(' '));
                    line("B", id, args[3]);
                    long until = System.nanoTime() + work;
                    while (System.nanoTime() < until) {
                        java.util.concurrent.locks.LockSupport.parkNanos(until - System.nanoTime());
                    }
                    line("H", id, args[3]);
                    uncommitted = true;
                }
                if (uncommitted) {
                    commit(consumer);
                }
            }
        } catch (WakeupException e) {
            // asked to stop; nothing is in hand
        } finally {
            consumer.close(Duration.ofSeconds(5));
        }
    }

    private static void commit(KafkaConsumer<String, String> consumer) {
        for (;;) {
            try {
                consumer.commitSync();
                uncommitted = false;
                return;
            } catch (WakeupException e) {
                // asked to stop: once more, and then the loop ends
            } catch (RebalanceInProgressException | CommitFailedException e) {
                System.err.println("commit: " + e);
                return;
            }
        }
    }

    private static void line(String kind, String id, String name) throws Exception {
        out.write((kind + " " + id + " " + name + "\n").getBytes(StandardCharsets.US_ASCII));
    }
}
