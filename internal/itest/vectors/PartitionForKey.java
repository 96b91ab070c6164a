import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;

/** For each line "KEYHEX PARTITIONS" prints the partition that the Java producer chooses. An empty key is written "-". */
class PartitionForKey {
    public static void main(String[] args) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            var parts = line.split(" ");
            byte[] key = parts[0].equals("-") ? new byte[0] : HexFormat.of().parseHex(parts[0]);
            System.out.println(BuiltInPartitioner.partitionForKey(key, Integer.parseInt(parts[1])));
        }
    }
}
